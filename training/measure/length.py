"""A win rate with the length of the answers taken out: what it would be if both answers were as long.

A reward model, and people too, like longer answers, so a policy wins by writing more without being better. As in
AlpacaEval 2 (Dubois et al., arXiv 2404.04475) a logistic regression says how the chance to win depends on the difference in
length, tanh(difference / its standard deviation); where the difference is 0 only the policies differ.
"""

from collections.abc import Sequence

import numpy as np

from training.measure.bootstrap import LEVEL, RESAMPLES, Array, Interval

STEPS = 25
RIDGE = np.array([0.05, 1.0])  # of the intercept and of the length: a sweep of all prompts has no finite fit


def controlled(
    wins: Sequence[float], differences: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The length-controlled win rate, one pair of answers a prompt, with its interval by bootstrap over prompts.

    Args:
        wins: 1 where the new answer won, 0 where it lost, 0.5 for a draw.
        differences: Tokens of the new answer minus those of the old one.
        resamples: How many samples of prompts are drawn.
        seed: Of the draws.
    """
    won, longer = np.asarray(wins, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    prompts = len(won)
    length = np.tanh(longer / (longer.std() or 1.0))
    value = float(_fit(np.ones((1, prompts)), won, length)[0])
    if prompts == 1:
        return Interval(value, None, None, prompts)
    counts = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(_fit(counts.astype(np.float64), won, length), [tail, 1 - tail])
    return Interval(value, float(low), float(high), prompts)


def _fit(counts: Array, won: Array, length: Array) -> Array:
    """The chance to win at equal length, for each sample of prompts, [samples, prompts]; by Newton's method."""
    weights = np.zeros((len(counts), 2))
    for _ in range(STEPS):
        chance = _sigmoid(weights[:, :1] + weights[:, 1:] * length)
        error, spread = counts * (won - chance), counts * chance * (1 - chance)
        slope = np.stack([error.sum(1), error @ length], axis=1) - RIDGE * weights
        a, b, c = spread.sum(1) + RIDGE[0], spread @ length, spread @ (length * length) + RIDGE[1]
        step = np.stack([c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]], axis=1)
        weights = weights + np.clip(step / (a * c - b * b)[:, None], -2, 2)
    return _sigmoid(weights[:, 0])


def _sigmoid(scores: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    return found
