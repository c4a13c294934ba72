"""Win rates: how they are written, read, and joined."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.rounds import rates
from app.rounds.rates import EVEN, Rate

shares = st.floats(0.02, 0.98)


def test_a_rate_is_written_with_its_interval_where_that_is_known() -> None:
    assert str(Rate(0.58, 0.52, 0.63)) == "58% [52, 63]"
    assert str(Rate(0.58)) == "58%"


@pytest.mark.parametrize("stored", [{}, {"score": None}, {"score": "0.5"}])
def test_what_is_no_number_is_no_rate(stored: dict[str, object]) -> None:
    assert rates.read(stored, "score") is None


def test_only_an_interval_on_one_side_of_one_half_is_sure() -> None:
    assert Rate(0.6, 0.51, 0.7).better
    assert not Rate(0.6, 0.49, 0.7).better
    assert not Rate(0.6).better
    assert Rate(0.4, 0.3, 0.49).worse


def test_odds_multiply() -> None:
    joined = rates.chained(Rate(0.6, 0.5, 0.7), Rate(0.75, 0.65, 0.85))
    assert joined.value == pytest.approx(1.5 * 3 / (1 + 1.5 * 3))


@given(shares, shares)
def test_a_chain_is_wider_than_each_of_its_links_and_holds_its_value(one: float, other: float) -> None:
    first, second = (Rate(each, max(0.01, each - 0.1), min(0.99, each + 0.1)) for each in (one, other))
    joined = rates.chained(first, second)
    assert joined.low is not None
    assert joined.high is not None
    assert joined.low <= joined.value <= joined.high


@given(shares)
def test_over_an_equal_one_a_policy_is_worth_the_same(share: float) -> None:
    assert rates.chained(Rate(share), EVEN).value == pytest.approx(share)
    assert rates.chained(Rate(share, share, share), EVEN).low == pytest.approx(share)


def test_a_contest_that_won_everything_still_has_odds() -> None:
    assert math.isfinite(rates.chained(Rate(1.0, 0.7, 1.0), Rate(1.0, 0.8, 1.0)).value)
