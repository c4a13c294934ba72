"""Statistics of one person's work, with their uncertainty. Pure functions; they rank nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

ENOUGH = 10
"""Below this, a share says nothing about a person."""
Z = 1.96
"""Of the normal distribution, for 95%."""


def wilson(k: int, n: int, z: float = Z) -> tuple[float, float]:
    """The Wilson interval of k of n: where the true share lies, at 95%. It stays between 0 and 1 for any k and n.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no share")
    if n == 0:
        return 0.0, 1.0
    share, room = k / n, z * z / n
    middle = (share + room / 2) / (1 + room)
    half = z * sqrt(share * (1 - share) / n + room / (4 * n)) / (1 + room)
    # the ends are exact in theory: rounding must not put 0 of n above 0
    low = 0.0 if k == 0 else max(0.0, middle - half)
    high = 1.0 if k == n else min(1.0, middle + half)
    return low, high


@dataclass(frozen=True, slots=True)
class Share:
    """How often something was so: k of n."""

    k: int
    n: int

    @property
    def enough(self) -> bool:
        """Whether there are enough to say anything."""
        return self.n >= ENOUGH

    @property
    def percent(self) -> float:
        """The share in per cent; 0 of nothing."""
        return 100 * self.k / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson interval in per cent."""
        low, high = wilson(self.k, self.n)
        return 100 * low, 100 * high

    def leans(self, even: float = 50.0) -> bool:
        """Whether the share is away from ``even`` by more than chance would explain."""
        low, high = self.interval
        return self.enough and not low <= even <= high


def in_tens(answers: Sequence[bool]) -> Share:
    """The right ones among the first ten, twenty, thirty … answers.

    A number that moved with each answer would tell which items had a known one, and whether it was met.
    """
    counted = answers[: len(answers) // ENOUGH * ENOUGH]
    return Share(sum(counted), len(counted))


@dataclass(frozen=True, slots=True)
class Statistics:
    """One person's work in numbers."""

    annotations: int
    gold: Share
    """Agreement with known answers."""
    median_seconds: float | None
    """Active time of the middle annotation."""
    timed: int
    """Annotations whose time was measured."""
    first_preferred: Share
    """Of pairs: how often the response shown first was preferred."""
    longer_preferred: Share
    """Of pairs of unequal length: how often the longer response was preferred."""
    edits_preferred: Share
    """Of edits that somebody else compared with their original: how often the edit was preferred."""
