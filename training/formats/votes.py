"""One judgement as votes: of each two responses which one is better, in one order whatever was shown first.

Beside :mod:`training.formats.pairs`, whose rows are what one trains on: there a tie inside a ranking says nothing, here it is
half a vote for each. What nobody may call chosen (all unacceptable) is a tie as well: neither is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from training.formats.pairs import RANKED


class Vote(NamedTuple):
    """``one`` against ``other``, the smaller id first.

    ``score`` is 1 where ``one`` is better, 0 where ``other`` is, ½ for a tie. ``strength`` says how much better, from 4
    (``one`` significantly) over 0 (a tie) to -4.
    """

    one: int
    other: int
    score: float
    strength: int


def votes(
    outcome: str, ranking: Sequence[Sequence[int]], strengths: Sequence[int], shown: Sequence[int]
) -> Iterator[Vote]:
    """Yield a vote for each two responses of a judgement.

    Args:
        outcome: What the annotator concluded.
        ranking: Groups of ids, best first; read only where the outcome is ranked. A response that it leaves out gets no vote.
        strengths: One per pair of neighbouring groups.
        shown: The ids of all responses.
    """
    if outcome != RANKED:
        for one, other in combinations(sorted(shown), 2):
            yield Vote(one, other, 0.5, 0)
        return
    places = {response: place for place, group in enumerate(ranking) for response in group}
    for one, other in combinations(sorted(places), 2):
        high, low = places[one], places[other]
        if high == low:
            yield Vote(one, other, 0.5, 0)
        elif high < low:
            yield Vote(one, other, 1.0, max(strengths[high:low]))
        else:
            yield Vote(one, other, 0.0, -max(strengths[low:high]))


def score(outcome: str, ranking: Sequence[Sequence[int]], ours: Sequence[int], theirs: Sequence[int]) -> float:
    """How one side of a judgement fares against the other: the mean of the votes between a response of each, 1 for all won.

    Args:
        outcome: What the annotator concluded.
        ranking: Groups of ids, best first; it may hold responses of neither side.
        ours: Ids of the side whose score it is; at least one of each side is ranked.
        theirs: Ids of the other side.
    """
    sides = dict.fromkeys(ours, True) | dict.fromkeys(theirs, False)
    some = [[response for response in group if response in sides] for group in ranking]
    found = [
        vote.score if sides[vote.one] else 1 - vote.score
        for vote in votes(outcome, some, [0] * len(some), list(sides))
        if sides[vote.one] is not sides[vote.other]
    ]
    return fmean(found)
