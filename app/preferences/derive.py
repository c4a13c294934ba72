"""The algebra from an annotation's ranking to preferences: pure functions over ids, no database and no text.

A ranking is a list of groups, best first; candidates in one group are tied. ``strengths[i]`` says how much better group
i is than group i + 1, from 1 (marginally) to 4 (significantly). Of it come

- a *pair* for every two candidates of different groups, the better one first. Two groups that are not neighbours differ
  by the **largest** strength between them, not by the sum (A slightly over B, B better than C: A is at least "better"
  than C), so the strength never falls when the distance grows;
- for the trainers, the *expansion* of an edit: edited > chosen and edited > rejected (Llama 3, arXiv 2407.21783, 4.2.1),
  each stated once however many pairs the chosen response is in;
- no pair inside a group: a tie is data for agreement and for filters, and is never scored as a win.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from app.annotations.models import Outcome

EDITED = "edited"
"""Stands for the annotator's improved text where a candidate's id would stand."""
Item = int | str


@dataclass(frozen=True, slots=True)
class Pair:
    """One derived preference between two candidates.

    ``chosen`` is None when nothing may be called chosen (all unacceptable). ``strength`` is None for ties and for all
    unacceptable. ``has_edit`` is true where ``chosen`` is the candidate that the annotator edited.
    """

    chosen: int | None
    rejected: int
    strength: int | None
    has_edit: bool = False


@dataclass(frozen=True, slots=True)
class Expanded:
    """One row for a trainer: ``better`` over ``worse``, either of them a candidate id, ``better`` possibly the edit."""

    better: Item
    worse: Item
    strength: int


def derive(
    outcome: Outcome,
    ranking: Sequence[Sequence[int]],
    strengths: Sequence[int],
    shown: Sequence[int],
    edited: int | None = None,
) -> Iterator[Pair]:
    """Yield the pairs of one annotation, best first.

    Ranked: all pairs across groups. Tie: each two candidates once, in the order shown, because neither is better. All
    unacceptable: each candidate once as rejected by nothing.

    Args:
        outcome: What the annotator concluded.
        ranking: Groups of candidate ids, best first; read only where the outcome is ranked.
        strengths: One per pair of neighbouring groups.
        shown: All candidate ids, in the order shown.
        edited: The candidate whose text the annotator improved.
    """
    if outcome is Outcome.TIE:
        yield from (Pair(one, other, None) for one, other in combinations(shown, 2))
    elif outcome is Outcome.ALL_UNACCEPTABLE:
        yield from (Pair(None, candidate, None) for candidate in shown)
    else:
        yield from (
            Pair(better, worse, max(strengths[high:low]), better == edited)
            for high, low in combinations(range(len(ranking)), 2)
            for better in ranking[high]
            for worse in ranking[low]
        )


def expand(pairs: Sequence[Pair], min_strength: int = 1) -> Iterator[Expanded]:
    """Yield the rows a trainer learns from: the ranked pairs of at least ``min_strength`` with their edits expanded.

    An edit stands above the response that it improved by as much as that response stood above the best it beat: the
    annotator never says that strength, and this keeps the edit's pairs exactly where the filter keeps the chosen one's.
    """
    kept = [(pair.chosen, pair) for pair in pairs if pair.chosen is not None and (pair.strength or 0) >= min_strength]
    edits: dict[int, int] = {}
    for chosen, pair in kept:
        if pair.has_edit:
            edits[chosen] = max(edits.get(chosen, 0), pair.strength or 0)
    yield from (Expanded(EDITED, chosen, strength) for chosen, strength in edits.items())
    for chosen, pair in kept:
        if pair.has_edit:
            yield Expanded(EDITED, pair.rejected, pair.strength or 0)
        yield Expanded(chosen, pair.rejected, pair.strength or 0)


def pair_strengths(sizes: Sequence[int], strengths: Sequence[int]) -> dict[int, int]:
    """How many pairs of each strength a ranking gives whose groups have ``sizes`` members: counting without the ids."""
    counts: dict[int, int] = {}
    for high, low in combinations(range(len(sizes)), 2):
        strength = max(strengths[high:low])
        counts[strength] = counts.get(strength, 0) + sizes[high] * sizes[low]
    return counts
