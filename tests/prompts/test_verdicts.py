"""What people said of responses becomes their ranks, and what is no verdict becomes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from app.prompts import verdicts

NAMES = ["response_1", "response_2"]


@pytest.mark.parametrize(
    ("question", "said", "places"),
    [
        ("q", "response_2", [2, 1]),
        ("q", "Response 1", [1, 2]),
        ("preference", "A", [1, 2]),
        ("which is better?", "2", [2, 1]),
        ("pairwise", "right", [2, 1]),
        ("best", "Answer B", [2, 1]),
        ("preference", "It's a tie", [1, 1]),
        ("preference", "Both are good", [1, 1]),
        ("language", "A", None),
        ("language", "1", None),
        ("preference", "C", None),
        ("preference", "Because of the second", None),
        ("preference", 2, None),
        ("preference", ["A"], None),
    ],
)
def test_a_label_prefers_a_response_by_its_name_or_where_it_was_asked_for(
    question: str, said: Any, places: list[float] | None
) -> None:
    assert verdicts.label(question, said, NAMES) == places


@pytest.mark.parametrize(
    ("said", "places"),
    [
        (["response_2", "response_1"], [2, 1]),
        ([{"value": "response_1", "rank": 1}, {"value": "response_2", "rank": 1}], [1, 1]),
        (["response_2"], None),
        (["response_2", "response_3"], None),
        (["response_1", "response_2", "response_3"], None),
        ([{"value": "response_1"}, {"value": "response_2", "rank": 1}], None),
        ("response_1", None),
        ([], None),
    ],
)
def test_an_order_is_of_all_responses_or_none(said: Any, places: list[float] | None) -> None:
    assert verdicts.order(said, NAMES) == places


def test_of_several_people_each_response_has_its_mean_place() -> None:
    responses: list[dict[str, Any]] = [{"text": "a"}, {"text": "b", "rank": 7}]
    assert [each["rank"] for each in verdicts.ranked(responses, [[1, 2], [1, 2], [2, 1]])] == [1.333, 1.667]
    assert [each["rank"] for each in verdicts.ranked(responses, [[1, 2], [2, 1]])] == [1.5, 1.5]
    assert verdicts.ranked(responses, [[1, 2]])[1] == {"text": "b", "rank": 2, "rank_in_file": 7}
    assert verdicts.ranked(responses, []) == responses
