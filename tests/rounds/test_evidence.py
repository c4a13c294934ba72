"""The gate's arithmetic: what it says of a series, and how often it is wrong when one looks after every score."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from app.rounds.evidence import ALPHA, HOPES, STAKES, EqualLength, band, evidence

TWENTY = math.log(20)


def reference(scores: list[float], null: float, *, better: bool) -> list[float]:
    """The definition, one gambler and one score at a time, in logarithms."""
    half = null if better else 1 - null
    wealth, found = [0.0] * len(HOPES), []
    for score in scores:
        gain = (score if better else 1 - score) - half
        wealth = [w + math.log1p(4 * (hope - 0.5) * 0.5 / half * gain) for w, hope in zip(wealth, HOPES, strict=True)]
        top = max(wealth)
        found.append(top + math.log(sum(math.exp(w - top) for w in wealth) / len(wealth)))
    return found


def draws(seed: int, count: int, rate: float, ties: float = 0.25) -> list[float]:
    chance = random.Random(seed)
    return [0.5 if chance.random() < ties else float(chance.random() < rate) for _ in range(count)]


@pytest.mark.parametrize(("null", "better"), [(0.5, True), (0.575, False), (0.5, False), (0.2, True)])
def test_the_evidence_is_the_mean_wealth_of_ten_gamblers(null: float, better: bool) -> None:  # noqa: FBT001 - parametrised
    scores = [*draws(1, 150, 0.6), 0.25, 0.75, 1.0]
    assert evidence(scores, null, better=better) == pytest.approx(reference(scores, null, better=better))


def test_nothing_said_is_no_evidence() -> None:
    assert evidence([]) == []


def test_ties_are_no_evidence_for_anybody() -> None:
    assert evidence([0.5] * 400) == pytest.approx([0.0] * 400)
    assert max(evidence([0.5] * 400, 0.575, better=False)) > math.log(10)  # but surely not clearly better


def test_winning_always_is_soon_enough_and_never_too_much_for_a_float() -> None:
    path = evidence([1.0] * 5_000)
    assert path[5] < TWENTY < path[12]
    assert math.isfinite(path[-1])
    assert path == sorted(path)
    assert math.isfinite(evidence([0.0] * 5_000)[-1])


def test_evidence_for_one_is_evidence_against_the_other() -> None:
    scores = draws(2, 200, 0.7)
    assert evidence(scores) == pytest.approx(evidence([1 - score for score in scores], better=False))


def test_a_band_holds_what_no_look_has_ruled_out() -> None:
    scores = draws(3, 150, 0.65)
    low, high = band(scores, range(1, 151))[-1] or (None, None)
    assert low is not None
    assert high is not None
    kept = [
        mean / 200
        for mean in range(1, 200)
        if max(*evidence(scores, mean / 200), *evidence(scores, mean / 200, better=False)) < math.log(2 / ALPHA)
    ]
    assert (low, high) == pytest.approx((kept[0], kept[-1]), abs=0.006)
    assert low < sum(scores) / len(scores) < high


def test_a_band_only_narrows_and_few_looks_make_it_little_wider() -> None:
    scores = draws(6, 400, 0.6)
    every, some = band(scores, range(1, 401)), band(scores, range(8, 401, 8))
    for earlier, later in itertools.pairwise(each for each in every if each):
        assert earlier[0] <= later[0] < later[1] <= earlier[1]
    assert every[-1] is not None
    assert some[-1] is not None
    assert some[-1] == pytest.approx(every[-1], abs=0.02)
    assert some[-1][0] <= every[-1][0]
    assert some[-1][1] >= every[-1][1]


def test_nothing_is_left_where_the_mean_has_moved() -> None:
    assert band([1.0] * 200 + [0.0] * 400, [200, 600])[1] is None
    assert band([], []) == []


def test_whoever_looks_after_every_score_is_wrong_one_time_in_twenty() -> None:
    """Twice 1,000 series of 300: promoted although no better, and an interval that has once excluded the truth."""
    promoted = sum(max(evidence(draws(seed, 300, 0.5))) >= TWENTY for seed in range(1_000))
    excluded = 0
    for seed in range(1_000):
        scores = [score if score == 0.5 or index % 5 else 1.0 for index, score in enumerate(draws(seed, 300, 0.5))]
        true = 0.8 * 0.5 + 0.2 * (0.75 + 0.25 * 0.5)
        wrong = max(*evidence(scores, true), *evidence(scores, true, better=False))
        excluded += wrong >= math.log(2 / ALPHA)
    assert promoted <= 50
    assert excluded <= 50


def test_nobody_can_be_ruined() -> None:
    assert max(STAKES) < 1


@pytest.mark.parametrize(("advantage", "expected"), [(0.0, 0.5), (0.1, 0.6)])
def test_what_is_only_longer_is_no_better_at_equal_length(advantage: float, expected: float) -> None:
    chance = random.Random(4)
    fit = EqualLength()
    for _ in range(4_000):
        length = math.tanh(chance.gauss(1.5, 1.0))
        fit.add(float(chance.random() < 0.5 + advantage + 0.15 * length), length)
    assert fit.scores / fit.seen > expected + 0.08
    assert fit.score == pytest.approx(expected, abs=0.03)
    assert fit.slope == pytest.approx(0.15, abs=0.04)


def test_answers_of_one_length_leave_the_score_as_it_is() -> None:
    fit = EqualLength()
    for score in (1.0, 1.0, 0.0, 1.0):
        fit.add(score, 0.76)
    assert fit.score == pytest.approx(0.75)
    assert EqualLength().score == 0.5
