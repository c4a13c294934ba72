"""Position and candidate id: the one place where each becomes the other. Only ids are stored; only positions are shown."""

from __future__ import annotations

from collections.abc import Sequence

POSITIONS = "ABCDEFGH"
"""The names of responses. "A" is the first one shown to this annotator; the browser knows nothing else of them."""


def position(index: int) -> str:
    """The name by which an annotator knows the response at ``index`` (0-based) of the order shown."""
    return POSITIONS[index]


def positions(shown: Sequence[object]) -> str:
    """The names of as many responses as were shown: ``"ABC"``."""
    return POSITIONS[: len(shown)]


def ids_by_position(shown: Sequence[int]) -> dict[str, int]:
    """The candidate id behind each name, for the order in which somebody was shown them."""
    return dict(zip(POSITIONS, shown, strict=False))


def positions_by_id(shown: Sequence[int]) -> dict[int, str]:
    """The name of each candidate, for the order in which somebody was shown them."""
    return {candidate: POSITIONS[at] for at, candidate in enumerate(shown)}
