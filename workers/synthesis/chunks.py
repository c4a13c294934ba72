"""Documents in pieces: a few hundred words each, cut between paragraphs where there are any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from workers.synthesis.protocol import Document

PIECE: Final = 2_400
"""Characters of a piece, at most: some 400 words of English."""
FEWEST: Final = 200
"""Characters below which a piece says too little to ask about; it goes with the one before."""


class Piece(NamedTuple):
    """A piece of a document, with its number in it, from 1."""

    document: Document
    number: int
    text: str


def pieces(document: Document) -> list[Piece]:
    """The pieces of a document, in their order; together they are all of its text but for blanks between them."""
    texts: list[str] = []
    rest = document.text.strip()
    while len(rest) > PIECE:
        cut = _cut(rest)
        texts.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    if rest and len(rest) < FEWEST and texts:
        texts[-1] = f"{texts[-1]}\n\n{rest}"
    elif rest:
        texts.append(rest)
    return [Piece(document, number, text) for number, text in enumerate(texts, 1)]


def all_pieces(documents: Sequence[Document]) -> list[Piece]:
    """The pieces of all documents, one document after the other."""
    return [piece for document in documents for piece in pieces(document)]


def _cut(text: str) -> int:
    """Where the first piece ends: after a paragraph, else a sentence, else a word, else anywhere."""
    for pattern in (r"\n\s*\n", r"(?<=[.!?])\s+|(?<=[。！？])", r"\s+"):
        ends = [found.end() for found in re.finditer(pattern, text[:PIECE])]
        if ends and ends[-1] >= PIECE // 3:
            return ends[-1]
    return PIECE
