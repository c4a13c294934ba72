"""Intervals of shares. Pure functions."""

from __future__ import annotations

from math import sqrt

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
