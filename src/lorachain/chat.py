"""Chats to tokens: the base's own template, a loss mask per turn, control tokens made harmless.

A chat is rendered by the base's template as a whole, and the places where the contents stand are
found by rendering the same roles with placeholders. What the assistant says is trained, and the
token that ends its turn: a model that never sees its end token never stops. Everything is encoded
in blocks that begin and end where a turn of the assistant does, so the tokens before an answer
are exactly those of the prompt at generation time.

A content that holds the text of a control token (`<|im_start|>`) is encoded as that text, never
as the token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lorachain.errors import UserError
from lorachain.files import sha256_text
from lorachain.records import Message

_OPEN, _CLOSE = "\ue000", "\ue001"
_NOT_A_PREFIX = (
    "This base's chat template writes a prompt differently once it is answered, so the tokens of "
    "the answer cannot be told apart."
)


@dataclass(frozen=True)
class EncodedChat:
    """Tokens of one chat. `ids` and `trained` have the same length; `trained[i]` tells whether
    the model is taught to produce token i. `escaped` tells whether a content held the text of a
    control token."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]
    escaped: bool = False

    @property
    def trained_tokens(self) -> int:
        """How many tokens carry loss. The first token has no context, so it never does."""
        return sum(self.trained[1:])


@dataclass(frozen=True)
class _Piece:
    """A stretch of a rendered chat: whether it is a turn's own text, and whether it is trained."""

    text: str
    content: bool = False
    answer: bool = False


@dataclass(frozen=True)
class _Block:
    """Pieces that are encoded together, all trained or none."""

    pieces: tuple[_Piece, ...]
    trained: bool


@dataclass
class ChatEncoder:
    """Encodes chats with one base's tokenizer and template.

    Raises UserError at once when the tokenizer has no chat template or no end token.
    """

    tokenizer: Any
    _skeletons: dict[tuple[str, ...], list[str]] = field(default_factory=dict, repr=False)
    # One object for each id: of 100,000 rows, objects of their own would fill a gigabyte.
    _shared: dict[int, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not getattr(self.tokenizer, "chat_template", None):
            raise UserError(
                "This base has no chat template, so it was not made for chats. Choose an "
                "instruct model (its name often ends in -Instruct or -Chat)."
            )
        if self.tokenizer.eos_token_id is None:
            raise UserError("This base's tokenizer has no end token (eos_token); choose another.")

    @cached_property
    def control_tokens(self) -> frozenset[str]:
        """The texts of the tokens that steer the model: never taken from a row's content."""
        added = self.tokenizer.added_tokens_decoder.values()
        return frozenset(token.content for token in added if token.special)

    @cached_property
    def _control(self) -> re.Pattern[str]:
        texts = sorted(self.control_tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts)) or r"(?!)")

    @cached_property
    def _closing(self) -> str | None:
        """What the template writes after an answer, up to and with the token that ends the turn.

        None when it writes no such token; the tokenizer's end token is then added.
        """
        texts = self._skeleton(("user", "assistant"), generation=False)
        if len(texts) != 3:
            return None
        tail = texts[-1]
        match = self._control.search(tail)
        return tail[: match.end()] if match else None

    @cached_property
    def stop_ids(self) -> list[int]:
        """Ids at which generation stops: the end token, and what the template ends turns with."""
        ids = {int(self.tokenizer.eos_token_id)}
        if self._closing is not None:
            ids.add(self._encode_text(self._closing, literal=False)[-1])
        return sorted(ids)

    def render(self, messages: Sequence[Message], *, generation: bool) -> str:
        """The template's text for a chat; with `generation`, up to where the answer starts."""
        chat = [{"role": m.role, "content": m.content} for m in messages]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    chat, tokenize=False, add_generation_prompt=generation
                )
            )
        except Exception as error:  # the template is the base's own program: it may raise anything
            roles = ", ".join(m.role for m in messages)
            raise UserError(
                f"The base's chat template refuses these turns ({roles}): {error}"
            ) from None

    def encode_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a prompt, the same as stand before the answer in training."""
        blocks = self._blocks(tuple(messages), generation=True)
        return [i for block in blocks for i in self._encode_pieces(block.pieces)]

    def encode(self, messages: Sequence[Message]) -> EncodedChat:
        """Tokens and loss mask of a chat whose last turn is the assistant's."""
        messages = tuple(messages)
        ids: list[int] = []
        trained: list[bool] = []
        for block in self._blocks(messages, generation=False):
            found = self._encode_pieces(block.pieces)
            ids.extend(found)
            trained.extend([block.trained] * len(found))
        if self._closing is None:
            ids.append(int(self.tokenizer.eos_token_id))
            trained.append(True)
        escaped = any(self._control.search(m.content) for m in messages)
        return EncodedChat(tuple(ids), tuple(trained), escaped)

    def _blocks(self, messages: tuple[Message, ...], *, generation: bool) -> Iterator[_Block]:
        """Prompt, answer with its end token, prompt, answer, ...; with `generation` a prompt is
        last. Without, what the template writes after the last end token (mostly a newline) is
        left out: it is never generated."""
        prompt: list[_Piece] = []
        answer: list[_Piece] = []
        closing = self._closing or ""
        for piece in self._pieces(messages, generation=generation):
            if piece.answer:
                answer.append(piece)
                continue
            if answer:
                yield _Block(tuple(prompt), trained=False)
                if piece.text.startswith(closing):
                    answer.append(_Piece(closing))
                    piece = _Piece(piece.text[len(closing) :])
                yield _Block(tuple(answer), trained=True)
                prompt, answer = [], []
            prompt.append(piece)
        if generation:
            yield _Block(tuple(prompt), trained=False)

    def _pieces(self, messages: tuple[Message, ...], *, generation: bool) -> list[_Piece]:
        """A chat as template text and contents in turn, checked against the real rendering."""
        real = self.render(messages, generation=generation)
        roles = tuple(m.role for m in messages)
        texts = self._skeleton(roles, generation=generation)
        contents = _contents(messages, texts, real)
        if contents is None:
            return self._pieces_by_prefix(messages, real)
        pieces = [_Piece(texts[0])]
        for i, (role, content) in enumerate(zip(roles, contents, strict=True)):
            if role == "assistant":
                opening = self._opening(roles[:i], texts)
                pieces[-1] = _Piece(opening)
                if lead := texts[i][len(opening) :]:  # the model will have to write it, too
                    pieces.append(_Piece(lead, answer=True))
            pieces.append(_Piece(content, content=True, answer=role == "assistant"))
            pieces.append(_Piece(texts[i + 1]))
        return pieces

    def _opening(self, roles: tuple[str, ...], texts: list[str]) -> str:
        """What a prompt with these roles ends with. It must stand before the answer as well."""
        prompt = self._skeleton(roles, generation=True)
        at = len(roles)
        if prompt[:at] != texts[:at] or not texts[at].startswith(prompt[-1]):
            raise UserError(_NOT_A_PREFIX)
        return prompt[-1]

    def _pieces_by_prefix(self, messages: tuple[Message, ...], real: str) -> list[_Piece]:
        """For templates that rewrite contents: an answer begins where its prompt's text ends."""
        for message in messages:
            match = self._control.search(message.content)
            if match:
                raise UserError(
                    f"A turn holds the control token {match[0]!r} as text, and this base's "
                    "template rewrites contents, so it cannot be told apart. Remove it."
                )
        answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
        if self._closing is None and any(i < len(messages) - 1 for i in answers):
            raise UserError(
                "This base's chat template rewrites contents and ends answers with no token, so "
                "the answers of a chat with several turns cannot be told apart."
            )
        pieces: list[_Piece] = []
        at = 0
        for i in answers:
            prompt = self.render(messages[:i], generation=True)
            if not real.startswith(prompt):
                raise UserError(_NOT_A_PREFIX)
            end = real.find(self._closing, len(prompt)) if self._closing else len(real)
            if end < 0:
                raise UserError("This base's chat template leaves an answer without an end token.")
            pieces.append(_Piece(real[at : len(prompt)]))
            pieces.append(_Piece(real[len(prompt) : end], content=True, answer=True))
            at = end
        return [*pieces, _Piece(real[at:])]

    def _skeleton(self, roles: tuple[str, ...], *, generation: bool) -> list[str]:
        """The template's texts around the contents of a chat with these roles: one text more than
        roles, if the template writes each content once."""
        key = (*roles, "+" if generation else ".")
        if key not in self._skeletons:
            marks = [Message(role, f"{_OPEN}{i}{_CLOSE}") for i, role in enumerate(roles)]
            rendered = self.render(marks, generation=generation)
            self._skeletons[key] = re.split(f"{_OPEN}[0-9]+{_CLOSE}", rendered)
        return self._skeletons[key]

    def _encode_pieces(self, pieces: Iterable[_Piece]) -> list[int]:
        """Tokens of pieces taken together, or, where a content would make a control token, piece
        by piece with the contents taken literally."""
        pieces = list(pieces)
        text = "".join(piece.text for piece in pieces)
        ours = sum(len(self._control.findall(p.text)) for p in pieces if not p.content)
        if len(self._control.findall(text)) != ours:
            return [i for p in pieces for i in self._encode_text(p.text, literal=p.content)]
        return self._encode_text(text, literal=False)

    def _encode_text(self, text: str, *, literal: bool) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=literal)
        return [self._shared.setdefault(i, i) for i in map(int, encoded["input_ids"])]


def _contents(messages: Sequence[Message], texts: list[str], real: str) -> list[str] | None:
    """The contents as a template wrote them between its `texts`: whole, or without blank edges.

    None when it did anything else to them.
    """
    if len(texts) != len(messages) + 1 or not real.startswith(texts[0]):
        return None
    found: list[str] = []
    at = len(texts[0])
    for message, text in zip(messages, texts[1:], strict=True):
        content = message.content
        for written in (content, content.strip(), content.lstrip(), content.rstrip()):
            if real.startswith(written + text, at):
                found.append(written)
                at += len(written) + len(text)
                break
        else:
            return None
    return found if at == len(real) else None


def template_hash(tokenizer: Any) -> str:
    """SHA-256 of the chat template's text (templates in a dict: of all of them)."""
    return sha256_text(repr(tokenizer.chat_template))
