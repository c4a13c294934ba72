"""Krippendorff's α: published numbers, and what an item is."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from app.kernel.settings import ROOT
from workers.board.agreement import alpha, interval

FOLDER = ROOT.parent / "shared" / "data" / "agreement"
PANDALM = FOLDER / "pandalm_first_200.json"

# Three coders, fifteen units, None where a coder did not look: the worked example of the literature.
WORKED: Sequence[Sequence[float | None]] = (
    (None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3),
    (1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None),
    (None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4),
)


def items_of(coders: Sequence[Sequence[float | None]]) -> list[list[float]]:
    return [[value for value in column if value is not None] for column in zip(*coders, strict=True)]


def test_the_worked_example() -> None:
    items = items_of(WORKED)
    assert alpha(items, "nominal") == pytest.approx(0.6914, abs=5e-5)
    assert alpha(items, "ordinal") == pytest.approx(0.8067, abs=5e-5)


@pytest.mark.skipif(not PANDALM.exists(), reason="the public judgements of PandaLM are not here")
def test_three_people_on_two_hundred_pairs_of_pandalm() -> None:
    values = {0: 0, 1: 1, 2: -1}
    rows = json.loads(PANDALM.read_text())
    items = [[values[int(row[f"annotator{number}"])] for number in (1, 2, 3)] for row in rows]
    assert alpha(items, "nominal") == pytest.approx(0.8930, abs=5e-5)
    assert alpha(items, "ordinal") == pytest.approx(0.9192, abs=5e-5)
    ends = interval(items, "nominal")
    assert ends is not None
    assert 0.8 < ends[0] < 0.8930 < ends[1] < 0.96


def test_who_said_it_and_in_which_order_items_come_does_not_matter() -> None:
    items = items_of(WORKED)
    shuffled = [list(reversed(item)) for item in reversed(items)]
    assert alpha(shuffled, "ordinal") == pytest.approx(alpha(items, "ordinal"))
    assert interval(shuffled, "ordinal") == pytest.approx(interval(items, "ordinal"), abs=0.1)


def test_a_second_vote_of_the_same_judge_is_one_more_answer() -> None:
    assert alpha([[1, 1], [0, 0], [1, 0, 1]], "nominal") != alpha([[1, 1], [0, 0], [1, 0]], "nominal")


def test_nothing_is_said_where_nobody_met() -> None:
    assert alpha([[1], [0], []], "nominal") is None
    assert interval([[1]], "nominal") is None


def test_people_who_always_say_the_same_agree() -> None:
    assert alpha([[1, 1]] * 12, "nominal") == 1.0
    assert interval([[1, 1]] * 12, "ordinal") == (1.0, 1.0)
