"""Review sentences with human sentiment ratings, from vaderSentiment's source distribution."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

from lorachain.errors import UserError
from lorachain.sampledata.facts import DOWNLOAD, Review

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
PLAIN = re.compile(r"[a-z][a-z0-9 ,.'!-]+[a-z0-9][.!]")
RUDE = re.compile(r"\b(crap|damn|hell|shit|suck|piss|ass)")
SHORTEST, LONGEST = 20, 70  # characters
CLEAR, NEUTRAL = 1.0, 0.3  # a rating between the two says neither: such sentences are left out


def sentiment_pt(score: float) -> str:
    """`positivo`, `negativo` or `neutro`: the sign of the mean rating."""
    if abs(score) <= NEUTRAL:
        return "neutro"
    return "positivo" if score > 0 else "negativo"


def reviews(folder: Path) -> list[Review]:
    """Short, plain sentences whose rating is clear. Raises UserError without the archive."""
    path = folder / ARCHIVE
    if not path.is_file():
        raise UserError(f"{path} is missing. Fetch it from the project's folder: {DOWNLOAD}")
    try:
        with tarfile.open(path) as outer:
            inner = _member(outer, INNER)
            with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
                text = _member(archive, SENTENCES).decode("cp1252")
    except (tarfile.TarError, KeyError, EOFError, OSError) as damage:
        raise UserError(f"{path} cannot be read ({damage}). Fetch it again: {DOWNLOAD}") from damage
    found, seen = [], set()
    for line in text.splitlines():
        name, score, sentence = line.split("\t", 2)
        review = _review(name, float(score), " ".join(sentence.split()))
        if review is not None and review.text not in seen:
            seen.add(review.text)
            found.append(review)
    return found


def _review(name: str, score: float, text: str) -> Review | None:
    document, _, number = name.partition("_")
    clear = abs(score) <= NEUTRAL or abs(score) >= CLEAR
    if (
        RUDE.search(text)
        or not clear
        or not SHORTEST <= len(text) <= LONGEST
        or not PLAIN.fullmatch(text)
    ):
        return None
    return Review(f"review{document}", int(number), text[0].upper() + text[1:], score)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """Read from memory: nothing of the archive is ever unpacked onto the disk."""
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()
