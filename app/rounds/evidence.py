"""How much a series of scores says about its mean, at every look: betting, and what it rules out. Pure arithmetic.

A score lies in [0, 1]: 1 the challenger won, 0 it lost, ½ a tie. Against "the mean is at most m" one stakes a part of one's
wealth on each next score being larger. While that is true no stakes make a profit, so wealth that has grown twentyfold was
seen with probability 1/20 at most, *whenever* one looked (Ville's inequality): people may look after every vote and stop at
once. Ten gamblers, each of whom hopes for another win rate, bet side by side, and the evidence e is their mean wealth; it is
close to the best of them without knowing which that is.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024), arXiv
2010.09686, with fixed bets mixed (their section 4 and appendix). Measured in docs/decisions/0038-evidence-by-betting.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log, log1p
from operator import mul
from sys import float_info

HOPES = (0.52, 0.54, 0.56, 0.58, 0.60, 0.63, 0.66, 0.70, 0.75, 0.82)
"""Win rates that the gamblers hope for against a half; each stakes what is best (to first order) if that is the truth."""
STAKES = tuple(2 * (hope - 0.5) for hope in HOPES)
"""What each loses of its wealth when the score is the worst possible, 0. Less than all, so that nobody is ever ruined."""
ALPHA = 0.05
PRECISION = 1 / 1024
"""Of the ends of a confidence sequence."""
_PRIOR_SPREAD = 0.5
"""Spread of lengths, in observations, that is taken to be there already: a few answers that hardly differ in length say
nothing of what length is worth."""


def evidence(scores: Sequence[float], null: float = 0.5, *, better: bool = True) -> list[float]:
    """The natural log of e after each score, against "the mean is at most ``null``" (``better=False``: "at least")."""
    wealths = (sum(each) / len(STAKES) for each in _gamblers(scores, null, better=better))
    # Floats reach from 1e-308 to 1e308, and what leaves that range has long been decided.
    return [log(min(max(wealth, float_info.min), float_info.max)) for wealth in wealths]


def band(scores: Sequence[float], looks: Sequence[int], alpha: float = ALPHA) -> list[tuple[float, float] | None]:
    """A confidence sequence: after so many scores, every mean that no look until then has ruled out.

    All of it holds together with probability 1 - ``alpha``, at these looks and at any others. ``looks`` are in order. None
    where nothing is left, as happens when the mean moves while one looks on.
    """
    times: Counter[float] = Counter()
    seen, low, high = 0, 0.0, 1.0
    found: list[tuple[float, float] | None] = []
    for look in looks:
        times.update(scores[seen:look])
        seen = look
        low = _edge(times, low, alpha)
        high = 1 - _edge(Counter({1 - score: count for score, count in times.items()}), 1 - high, alpha)
        found.append((low, high) if low <= high else None)
    return found


def _edge(times: Mapping[float, int], out: float, alpha: float) -> float:
    """Up to where means are too low for these scores, given that ``out`` is: wealth falls as the mean grows."""
    if out + PRECISION >= 1 or not _too_low(times, out + PRECISION, alpha):
        return out
    kept, out = 1.0, out + PRECISION
    while kept - out > PRECISION:
        middle = (out + kept) / 2
        if _too_low(times, middle, alpha):
            out = middle
        else:
            kept = middle
    return out


def _too_low(times: Mapping[float, int], mean: float, alpha: float) -> bool:
    profits = [(score / mean - 1, count) for score, count in times.items()]
    wealths = [sum(count * log1p(stake * profit) for profit, count in profits) for stake in STAKES]
    most = max(wealths)
    return most + log(sum(exp(wealth - most) for wealth in wealths)) >= log(len(STAKES) * 2 / alpha)


def _gamblers(scores: Sequence[float], null: float, *, better: bool) -> Iterator[tuple[float, ...]]:
    """The wealth of each after each score."""
    half = null if better else 1 - null
    profits = {score: (score if better else 1 - score) / half - 1 for score in set(scores)}
    runs = []
    for stake in STAKES:
        factors = {score: 1 + stake * profit for score, profit in profits.items()}
        runs.append(accumulate(map(factors.__getitem__, scores), mul))
    return zip(*runs, strict=True)


@dataclass
class EqualLength:
    """The score that a line through the observations gives where both answers are equally long; one :meth:`add` each.

    Length is ``tanh`` of the difference over its standard deviation, so that a few very long answers do not decide (as in
    length-controlled AlpacaEval, arXiv 2404.04475).
    """

    seen: int = 0
    lengths: float = 0.0
    squares: float = 0.0
    scores: float = 0.0
    products: float = 0.0

    def add(self, score: float, length: float) -> None:
        """One observation; ``length`` in [-1, 1], positive where the challenger's answer is longer."""
        self.seen += 1
        self.lengths += length
        self.squares += length * length
        self.scores += score
        self.products += score * length

    @property
    def slope(self) -> float:
        """What a length of 1 is worth."""
        if not self.seen:
            return 0.0
        spread = self.squares - self.lengths**2 / self.seen
        return (self.products - self.scores * self.lengths / self.seen) / (spread + _PRIOR_SPREAD)

    @property
    def score(self) -> float:
        """At equal length."""
        return (self.scores - self.slope * self.lengths) / self.seen if self.seen else 0.5
