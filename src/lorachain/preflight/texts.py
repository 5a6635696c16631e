"""What makes two prompts, or two answers, the same or nearly the same, in any script."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b

from lorachain.files import canonical_json
from lorachain.records import Message

# Answers under this Indel similarity (0 to 100) answer different questions. The answers of one JSON
# template differ by a few words, so it is high; a corrected typo or a moved comma stays above it.
NEAR_ANSWER = 95
COMPARED = 4_000  # characters of each answer that are compared: Indel is quadratic
_NUMBER = re.compile(r"\d+")
# White space and marks that a copy gains or loses. Operators and signs stay: 2-2 is not 2+2.
_MARKS = " .,;:!?'\"()[]{}`´‘’‚‛“”„«»‹›¡¿·•。、・「」『』【】〈〉《》،؛؟۔।"
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u2060\ufeff"
_WITHOUT_MARKS = str.maketrans("", "", _MARKS + _INVISIBLE)


def tight(text: str) -> str:
    """A text in one spelling: NFKC, case folded, one space for all white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def loose(text: str) -> str:
    """The same without white space and punctuation marks: what near texts are compared by."""
    return tight(text).translate(_WITHOUT_MARKS)


def numbers(text: str) -> tuple[str, ...]:
    """The runs of digits, in order: a prompt with another number is another question."""
    return tuple(_NUMBER.findall(text))


def prompt_text(messages: Iterable[Message]) -> str:
    """A prompt as leaks are looked for: its turns without the system prompt."""
    return "\n".join(message.content for message in messages if message.role != "system")


def prompt_digest(messages: Iterable[Message]) -> bytes:
    """16 bytes for a whole prompt, system prompt and roles included, however it is spelled."""
    return digest("\0".join(f"{role}\0{tight(content)}" for role, content in messages))


def digest(text: str) -> bytes:
    """16 bytes for a text; half characters are taken as they are."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def answer_key(text: str) -> str:
    """An answer in one spelling: JSON without regard to the order of keys, other texts `tight`."""
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError, RecursionError):
            text = canonical_json(json.loads(text))
    return tight(text)


def answers_near(one: str, other: str) -> bool:
    """Whether two answers, as `answer_key` spells them, could be to one question; an unknown one
    ("") could be to any."""
    if not one or not other or one == other:
        return True
    if numbers(one) != numbers(other):
        return False
    from rapidfuzz import fuzz

    texts = [key.translate(_WITHOUT_MARKS)[:COMPARED] for key in (one, other)]
    return fuzz.ratio(*texts, score_cutoff=NEAR_ANSWER) > 0


def says_something(text: str) -> bool:
    """Whether a text holds a letter, a digit or a symbol (emoji and + count, marks do not)."""
    return any(unicodedata.category(c)[0] in "LNS" for c in text)
