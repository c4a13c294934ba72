"""Means with the uncertainty that evaluations give theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workers.selection.head import Floats

RESAMPLES = 2000
SEED = 17


def over_prompts(prompts: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """The mean with its 95% interval by bootstrap over prompts; of one prompt without ends.

    Args:
        prompts: Which prompt each value is of; those of one prompt are drawn together.
        values: At least one.
    """
    _, places = np.unique(np.array(prompts), return_inverse=True)
    sums: Floats = np.bincount(places, weights=np.array(values, dtype=float)).astype(float)
    counts: Floats = np.bincount(places).astype(float)
    ends: tuple[float | None, float | None] = (None, None)
    if len(sums) > 1:
        draws = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
        means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        ends = (float(low), float(high))
    return {"value": float(np.mean(values)), "low": ends[0], "high": ends[1], "prompts": len(sums)}
