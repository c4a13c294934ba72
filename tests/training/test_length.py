"""A win rate with the length of the answers taken out, on votes whose cause is known."""

from __future__ import annotations

import numpy as np

from training.measure import length


def answers(skill: float, by_length: float, longer: float, prompts: int = 400) -> tuple[list[float], list[float]]:
    """Votes of one who likes the new policy by ``skill`` and length by ``by_length`` (logits), and how much longer it writes."""
    draws = np.random.default_rng(17)
    drift = draws.normal(longer, 40, prompts)
    chance = 1 / (1 + np.exp(-skill - by_length * np.tanh(drift / drift.std())))
    return (draws.random(prompts) < chance).astype(float).tolist(), drift.tolist()


def test_a_policy_that_only_writes_more_wins_half_at_equal_length() -> None:
    wins, drift = answers(0.0, 1.2, 60)
    assert np.mean(wins) > 0.6
    found = length.controlled(wins, drift, resamples=300)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high


def test_a_better_policy_stays_better_at_equal_length() -> None:
    wins, drift = answers(0.8, 0.0, 60)
    found = length.controlled(wins, drift, resamples=300)
    assert found.low is not None
    assert found.low > 0.5


def test_a_sweep_a_single_prompt_and_equal_lengths_have_a_number() -> None:
    assert 0.9 < length.controlled([1.0] * 20, [5.0] * 20, resamples=50).value < 1.0
    assert length.controlled([0.5] * 20, [0.0] * 20, resamples=50).value == 0.5
    assert length.controlled([1.0], [3.0]).low is None
