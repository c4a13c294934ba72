"""Win rates and other shares with their intervals, and what follows from one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.kernel.locales import number, percent

HALF = 0.5
"""A win rate at which two policies do not differ."""
_EDGE = 0.005
"""Log odds are taken no nearer to 0 and 1 than this: one side of a short contest may have won everything."""


@dataclass(frozen=True)
class Rate:
    """A share with the interval that it lies in; the ends are None where the interval is not known."""

    value: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """As pages write it: ``58% [52, 63]``."""
        if self.low is None or self.high is None:
            return percent(self.value)
        return f"{percent(self.value)} [{number(100 * self.low)}, {number(100 * self.high)}]"

    @property
    def better(self) -> bool:
        """Whether all of it lies above one half."""
        return self.low is not None and self.low > HALF

    @property
    def worse(self) -> bool:
        """Whether all of it lies below one half."""
        return self.high is not None and self.high < HALF


EVEN = Rate(HALF, HALF, HALF)
"""Of a policy over itself."""


def read(stored: Mapping[str, Any], value: str, low: str = "low", high: str = "high") -> Rate | None:
    """The rate under the name ``value`` in stored JSON, or None where that is no number."""
    if not isinstance(stored.get(value), int | float):
        return None
    ends = [float(end) if isinstance(end, int | float) else None for end in (stored.get(low), stored.get(high))]
    return Rate(float(stored[value]), *ends)


def chained(first: Rate, second: Rate) -> Rate:
    """The rate of A over C, where ``first`` is that of A over B and ``second`` that of B over C.

    Odds multiply, as they do for strengths that explain all three (Bradley and Terry); the two intervals come from
    different votes, so their widths in log odds add up by their squares.
    """
    middle = _log_odds(first.value) + _log_odds(second.value)
    if None in {first.low, first.high, second.low, second.high}:
        return Rate(_share(middle))
    below = math.hypot(*(_log_odds(rate.value) - _log_odds(rate.low or 0.0) for rate in (first, second)))
    above = math.hypot(*(_log_odds(rate.high or 0.0) - _log_odds(rate.value) for rate in (first, second)))
    return Rate(_share(middle), _share(middle - below), _share(middle + above))


def _log_odds(share: float) -> float:
    inner = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(inner / (1 - inner))


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def growth(score: float, against: float) -> float:
    """Mean growth of the log evidence an observation, at a true ``score``, against the claim that it is ``against``.

    That of the best single bet on wins and losses alone; ties make it grow faster, and not knowing the bet slower.
    """
    inner = min(max(score, _EDGE), 1 - _EDGE)
    return inner * math.log(inner / against) + (1 - inner) * math.log((1 - inner) / (1 - against))
