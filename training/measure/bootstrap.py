"""Confidence intervals by bootstrap over prompts (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13).

Pairs of one prompt stand or fall together: resampled one by one they would make an interval too narrow. So whole prompts
are drawn with replacement. Every statistic here is a function of sums over prompts (a mean is a sum over a count, a
correlation a function of five sums and a count), so a prompt is reduced to its moments once, and a resample is a
weighted sum of them. What a bootstrap cannot see: where all n prompts agree its interval has no width, although the true
share may well be off by 3/n.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Statistic = Callable[[Array], Array]  # sums of shape [..., moments] -> values of shape [...]

RESAMPLES = 2000
LEVEL = 0.95
CELLS = 4_000_000  # of resamples times prompts, held at once


@dataclass(frozen=True)
class Interval:
    """A value with its percentile interval over `prompts` prompts.

    `low` and `high` are None where they cannot be known: a single prompt leaves nothing to resample (a width of zero would
    be a lie), and a ratio that many resamples have no denominator for rests on too few prompts.
    """

    value: float
    low: float | None
    high: float | None
    prompts: int

    def to_json(self) -> dict[str, Any]:
        """As written in a report."""
        return {"value": self.value, "low": self.low, "high": self.high, "prompts": self.prompts}

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(sums: Array) -> Array:
    """The first sum over the second: a mean, where the moments are (sum of values, count)."""
    result: Array = sums[..., 0] / sums[..., 1]
    return result


def correlation(sums: Array) -> Array:
    """Pearson's, from the sums (count, x, y, xx, yy, xy); 0 where one side does not vary."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    covariance = xy - x * y / count
    spread = np.sqrt(np.maximum(xx - x * x / count, 0.0) * np.maximum(yy - y * y / count, 0.0))
    steady = spread <= 1e-12 * np.maximum(np.sqrt(xx * yy), 1e-300)  # what rounding leaves of no spread at all
    result: Array = np.where(steady, 0.0, covariance / np.where(steady, 1.0, spread))
    return result


def interval(
    moments: Array,
    statistic: Statistic = ratio,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The statistic of all prompts, and its percentile interval.

    Args:
        moments: [prompts, k], the sums within each prompt.
        statistic: Takes [..., k], the sums over all prompts of a sample.
        resamples: How many samples of prompts are drawn.
        level: How much of the resampled values lies within the interval.
        seed: Of the draws. The same data and seed give the same interval.

    Raises:
        ValueError: there is no prompt.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval(moments, statistic, resamples, level, seed)


def _interval(moments: Array, statistic: Statistic, resamples: int, level: float, seed: int) -> Interval:
    prompts = len(moments)
    value = float(statistic(moments.sum(axis=0)))
    if prompts == 1:
        return Interval(value, None, None, prompts)
    draws = np.random.default_rng(seed)
    values = []
    left = resamples
    while left:
        size = min(left, max(1, CELLS // prompts))
        counts = draws.multinomial(prompts, np.full(prompts, 1 / prompts), size=size)  # [size, prompts]
        values.append(statistic(counts.astype(np.float64) @ moments))
        left -= size
    drawn = np.concatenate(values)
    known = drawn[np.isfinite(drawn)]
    if len(known) < level * resamples:
        return Interval(value, None, None, prompts)
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(value, float(low), float(high), prompts)


def mean(prompts: Sequence[Hashable], values: Sequence[float], **options: Any) -> Interval:
    """The mean of values that belong to prompts, every value counting once; `options` are those of `interval`."""
    return interval(per_prompt(prompts, [(value, 1.0) for value in values]), **options)


def correlated(prompts: Sequence[Hashable], xs: Sequence[float], ys: Sequence[float], **options: Any) -> Interval:
    """The correlation of x and y, both of which belong to prompts; `options` are those of `interval`."""
    x, y = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    x, y = x - x.mean(), y - y.mean()  # the sums of squares of large numbers would cancel
    rows = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return interval(per_prompt(prompts, rows), correlation, **options)


def per_prompt(prompts: Sequence[Hashable], rows: Any) -> Array:
    """Sums of the rows [items, k] within each prompt, prompts in the order in which they first come; [prompts, k].

    Raises:
        ValueError: there are none.
    """
    if not len(prompts):
        raise ValueError("an interval over no prompts")
    numbers: dict[Hashable, int] = {}
    owner = [numbers.setdefault(prompt, len(numbers)) for prompt in prompts]
    values = np.asarray(rows, dtype=np.float64)
    sums = np.zeros((len(numbers), values.shape[1]))
    np.add.at(sums, owner, values)
    return sums
