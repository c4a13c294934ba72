"""Krippendorff's α of what people said of the same items, with intervals from resampled items.

α asks only how often which answers meet on one item, so an item is the list of its answers: who gave them does not matter, and
a judge's second vote is one answer more. evalica computes α; the intervals come from the same sums, added up by kinds of
items, which are few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import evalica
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal"]

RESAMPLES = 500
SEED = 17
"""Of the resamples: the same votes give the same interval."""


def alpha(items: Sequence[Sequence[float]], level: Level) -> float | None:
    """α of items with their answers; None where no item has two. 1 where all answers are the same."""
    judged = [item for item in items if len(item) > 1]
    if not judged:
        return None
    answers = max(len(item) for item in judged)
    table = np.full((answers, len(judged)), np.nan)
    for column, item in enumerate(judged):
        table[: len(item), column] = item
    return float(evalica.alpha(pd.DataFrame(table), distance=level).alpha)


def interval(items: Sequence[Sequence[float]], level: Level) -> tuple[float, float] | None:
    """The middle 95% of α over items drawn anew; None where no item has two answers."""
    kinds = Counter(tuple(sorted(item)) for item in items if len(item) > 1)
    if not kinds:
        return None
    values = sorted({value for kind in kinds for value in kind})
    places = {value: place for place, value in enumerate(values)}
    meetings = np.array([_meetings([places[value] for value in kind], len(values)) for kind in kinds])
    counts = np.array(list(kinds.values()))
    drawn = np.random.default_rng(SEED).multinomial(counts.sum(), counts / counts.sum(), RESAMPLES)
    low, high = np.quantile(_alphas(np.tensordot(drawn, meetings, 1), level), [0.025, 0.975])
    return float(low), float(high)


def _meetings(places: list[int], values: int) -> NDArray[np.float64]:
    """How often which answers meet on an item, so that each answer counts once: values × values."""
    counted = np.bincount(places, minlength=values).astype(float)
    return np.asarray((np.outer(counted, counted) - np.diag(counted)) / (len(places) - 1))


def _alphas(meetings: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """α of each table: tables × values × values."""
    totals = meetings.sum(2)
    if level == "nominal":
        distance = 1.0 - np.eye(totals.shape[1])[None]
    else:
        ranks = np.cumsum(totals, 1) - totals / 2
        distance = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    observed = (meetings * distance).sum((1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum((1, 2)) / np.maximum(1, totals.sum(1) - 1)
    same = expected == 0
    return np.where(same, np.where(observed == 0, 1.0, 0.0), 1 - observed / np.where(same, 1.0, expected))
