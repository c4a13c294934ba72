"""When the queue will be empty, at the pace of the last days. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import stdev

from app.kernel.intervals import Z

LOOKS_BACK = 14
"""Full days."""
NEEDED_DAYS, NEEDED_ITEMS = 5, 50
"""Below either, a pace says nothing."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days until ``left`` items are done, and where that lies at 95%."""

    left: int
    days: float
    low: float
    high: float | None
    """None: the pace varies so much that it may be any time."""
    pace: float
    """Items a day, days without work among them."""
    over: int
    """Days that the pace is the mean of."""


def forecast(left: int, daily: Sequence[int]) -> Forecast | None:
    """What the mean pace of ``daily`` says of ``left``; None where nothing is left, or where there is too little to say.

    Days before the first one with work do not count. The interval is that of the mean: it holds if the team works on as it did.
    """
    first = next((place for place, items in enumerate(daily) if items), len(daily))
    counted = daily[first:]
    if not left or len(counted) < NEEDED_DAYS or sum(counted) < NEEDED_ITEMS:
        return None
    pace = sum(counted) / len(counted)
    half = Z * stdev(counted) / sqrt(len(counted))
    return Forecast(
        left=left,
        days=left / pace,
        low=left / (pace + half),
        high=left / (pace - half) if pace > half else None,
        pace=pace,
        over=len(counted),
    )
