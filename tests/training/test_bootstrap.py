"""An interval says how far a number would move if other prompts had been asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.measure import bootstrap


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        wins = (draws.random(80) < 0.7).astype(float)
        found = bootstrap.mean(range(80), list(wins), resamples=400, seed=trial)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_pairs_of_one_prompt_are_resampled_together() -> None:
    wins = [1.0] * 10 + [0.0] * 10
    alone = bootstrap.mean(range(20), wins)
    together = bootstrap.mean([number // 5 for number in range(20)], wins)
    assert alone.value == together.value == 0.5
    assert (alone.prompts, together.prompts) == (20, 4)
    assert width(together) > 1.8 * width(alone), "five pairs of a prompt say no more than one"


def width(found: bootstrap.Interval) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_each_pair_counts_once_however_many_its_prompt_has() -> None:
    assert bootstrap.mean(["a", "a", "a", "b"], [1.0, 1.0, 1.0, 0.0]).value == 0.75


def test_the_same_data_and_seed_give_the_same_interval_in_one_piece_or_in_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = [float(value) for value in np.random.default_rng(0).normal(size=30)]
    whole = bootstrap.mean(range(30), values, seed=5)
    assert whole == bootstrap.mean(range(30), values, seed=5)
    assert whole != bootstrap.mean(range(30), values, seed=6)
    monkeypatch.setattr(bootstrap, "CELLS", 60)
    in_pieces = bootstrap.mean(range(30), values, seed=5)
    assert (in_pieces.low, in_pieces.high) == pytest.approx((whole.low, whole.high))


def test_a_correlation_is_numpys_also_far_from_zero() -> None:
    draws = np.random.default_rng(3)
    x = 1e6 + draws.normal(size=60)
    y = 0.5 * x + draws.normal(size=60)
    found = bootstrap.correlated([number // 2 for number in range(60)], list(x), list(y))
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low < found.value < found.high <= 1


def test_what_does_not_vary_correlates_with_nothing() -> None:
    assert bootstrap.correlated(range(4), [0.1] * 4, [1.0, 2.0, 3.0, 4.0]).value == 0.0


def test_one_prompt_has_a_value_and_no_interval() -> None:
    found = bootstrap.mean(["a", "a"], [1.0, 0.0])
    assert (found.value, found.low, found.high, str(found)) == (0.5, None, None, "0.500")
    with pytest.raises(ValueError, match="no prompts"):
        bootstrap.mean([], [])


@pytest.mark.parametrize(("empty", "answers"), [(45, 5), (3, 1)])
def test_resamples_without_a_denominator_do_not_make_an_interval_of_nothing(empty: int, answers: int) -> None:
    """Most answers of a collapsed policy are empty, and some resamples draw only those."""
    rows = [(0.0, 0.0)] * empty + [(float(2 + number % 3), 1.0) for number in range(answers)]
    found = bootstrap.interval(bootstrap.per_prompt(range(len(rows)), rows), resamples=500)
    assert found.value == sum(nats for nats, _ in rows) / answers
    assert (found.low is not None) == (answers > 1)
    assert all(end is None or math.isfinite(end) for end in (found.low, found.high))
