"""The arithmetic of the board: a direct fit gives the same, order and sides do not matter, intervals cover."""

from __future__ import annotations

import evalica
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.board import DESIGNS, covered, draw, naive
from workers.board.strengths import Votes, against, direct, fit, linked


def drawn(seed: int = 1) -> Votes:
    return draw(DESIGNS[0], np.random.default_rng(seed))


def few(*rows: tuple[int, int, float]) -> Votes:
    """Votes on a prompt each, by one person."""
    one, other, score = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    return Votes(one, other, score.astype(float), np.zeros(n), np.arange(n), np.zeros(n, dtype=np.int64))


def log_strengths_by_evalica(votes: Votes) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    names = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    winners = [names[score] for score in votes.score]
    scores = evalica.bradley_terry(votes.one, votes.other, winners, tolerance=1e-12, limit=10_000).scores
    found = np.log(scores.sort_index().to_numpy())
    return np.asarray(found - found.mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strengths_equal_another_fit_of_the_same_votes(seed: int) -> None:
    votes = drawn(seed)
    assert fit(votes, 4).strengths == pytest.approx(log_strengths_by_evalica(votes), abs=1e-3)


def test_two_policies_have_the_odds_of_their_votes() -> None:
    votes = few(*[(0, 1, 1.0)] * 30, *[(0, 1, 0.0)] * 10, *[(0, 1, 0.5)] * 8)
    found, _ = against(votes, 2, 1)
    assert found[0].value == pytest.approx(np.log(34 / 14), abs=1e-4)
    assert found[1].value == found[1].low == found[1].high == 0
    assert found[0].low < found[0].value < found[0].high


@pytest.mark.parametrize("length", [None, 100.0])
def test_sides_and_order_of_votes_do_not_matter(length: float | None) -> None:
    votes = drawn()
    rng = np.random.default_rng(7)
    turned = rng.random(len(votes)) < 0.5
    other_sides = Votes(
        np.where(turned, votes.other, votes.one),
        np.where(turned, votes.one, votes.other),
        np.where(turned, 1 - votes.score, votes.score),
        np.where(turned, -votes.length, votes.length),
        votes.prompt,
        votes.person,
    ).of(rng.permutation(len(votes)))

    def found(votes: Votes) -> list[float]:
        covariate = np.tanh(votes.length / length) if length else None
        intervals, effect = against(votes, 4, 2, covariate)
        numbers = [end for each in intervals for end in (each.value, each.low, each.high)]
        pairs = [end for each in direct(votes, 4) for end in (each.score.value, each.score.low, each.score.high)]
        return [*numbers, *pairs, effect or 0.0]

    assert found(other_sides) == pytest.approx(found(votes), abs=1e-8)


def test_a_longer_answer_that_wins_by_its_length_alone_is_no_better_at_equal_length() -> None:
    rng = np.random.default_rng(3)
    n = 4000
    length = rng.normal(80, 100, n)
    score = (rng.random(n) < 1 / (1 + np.exp(-1.5 * np.tanh(length / 100)))).astype(float)
    votes = Votes(np.zeros(n, int), np.ones(n, int), score, length, np.arange(n), rng.integers(0, 9, n))
    plain, _ = against(votes, 2, 1)
    level, effect = against(votes, 2, 1, np.tanh(length / 100))
    assert plain[0].low > 0.3
    assert level[0].low < 0 < level[0].high
    assert effect == pytest.approx(1.5, abs=0.3)


def test_five_wins_of_five_are_no_certainty() -> None:
    votes = few(*[(0, 1, 1.0)] * 5)
    found, _ = against(votes, 2, 1)
    low, high = 1 / (1 + np.exp(-found[0].low)), 1 / (1 + np.exp(-found[0].high))
    assert low < 0.7
    assert high > 0.95
    [pair] = direct(votes, 2)
    assert (pair.wins, pair.ties, pair.losses, pair.score.value) == (5, 0, 0, 1.0)
    assert pair.score.low < 0.7


def test_one_vote_says_next_to_nothing() -> None:
    found, _ = against(few((0, 1, 1.0)), 2, 1)
    assert found[0].low < -2


def test_policies_that_no_vote_links_are_told_apart() -> None:
    votes = few((0, 1, 1.0), (1, 2, 0.5), (3, 4, 1.0))
    assert list(linked(votes, 5, 0)) == [0, 1, 2]
    assert list(linked(votes, 5, 4)) == [3, 4]


@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_intervals_cover_what_they_promise(design: object) -> None:
    hits, _, plain, pairs = covered(design, 60, np.random.default_rng(2))  # type: ignore[arg-type]
    assert hits >= 0.9
    assert pairs >= 0.9
    assert plain <= hits


def test_votes_of_one_taste_count_less_than_votes_of_many() -> None:
    votes = drawn()
    low, high = naive(votes)
    found = against(votes, 4, 3)[0][0]
    assert found.high - found.low > high - low


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.sampled_from([0.0, 0.5, 1.0])), min_size=1))
def test_any_votes_have_finite_numbers(rows: list[tuple[int, int, float]]) -> None:
    votes = few(*((one, (one + step) % 5, score) for one, step, score in rows))
    group = linked(votes, 5, int(votes.one[0]))
    inside = np.isin(votes.one, group)
    places = np.full(5, -1)
    places[group] = np.arange(len(group))
    some = votes.of(inside)
    some = Votes(places[some.one], places[some.other], *list(vars(some).values())[2:])
    found, _ = against(some, len(group), 0)
    assert all(np.isfinite([each.low, each.value, each.high]).all() for each in found)
    assert all(each.low <= each.value <= each.high for each in found)
