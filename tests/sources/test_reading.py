"""Whatever form a file has its preferences and answers in, what is learnt from it is the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app.prompts import importers
from app.prompts.bounded_json import Refused
from app.sources.models import SourceKind
from app.sources.reading import rows_of

JSON_LINES, TABLE = (importers.importers()[name] for name in ("JSON Lines", "CSV"))
ASKED = [{"role": "user", "content": "Why?"}]


def turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def read(kind: SourceKind, record: Any, form: importers.Importer = JSON_LINES) -> list[Any]:
    return rows_of(kind, record, 1, form, 1000)


def refusal(kind: SourceKind, record: Any) -> str:
    try:
        [found] = read(kind, record)
    except Refused as refused:
        return str(refused)
    assert isinstance(found, Refused)
    return str(found)


def rated(text: str, *ratings: int, **more: Any) -> dict[str, Any]:
    aspects = {f"aspect {number}": {"Rating": str(rating)} for number, rating in enumerate(ratings)}
    return {"response": text, "model": "m", "annotations": aspects} | more


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        {"prompt": ASKED, "chosen": turn("So."), "rejected": turn("No.")},
        {"chosen": [*ASKED, *turn("So.")], "rejected": [*ASKED, *turn("No.")]},
        {"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "\n\nHuman: Why?\n\nAssistant: No."},
        {"instruction": "Why?", "input": "", "output": ["So.", "Perhaps.", "No."]},
        {"instruction": "Why?", "completions": [rated("Perhaps.", 3, 3), rated("No.", 1, 4), rated("So.", 5, 4)]},
        {"prompt": "Why?", "responses": [{"text": "No.", "score": 1}, {"text": "So.", "score": 2.5}]},
        {"prompt": "Why?", "responses": [{"text": "No.", "rank": 2}, {"text": "So.", "rank": 0}]},
        {
            "prompt": "Why?",
            "response_a": "No.",
            "response_b": "So.",
            "model_a": "x",
            "model_b": "y",
            "winner": "model_b",
        },
        {
            "fields": {"prompt": "Why?", "response_1": "No.", "response_2": "So."},
            "responses": {"preference": [{"value": "response_2", "user_id": "u", "status": "submitted"}]},
        },
        {
            "id": 7,
            "data": {"prompt": "Why?", "answer1": "So.", "answer2": "No."},
            "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
        },
    ],
)
def test_a_preference_is_the_best_response_over_the_worst(record: dict[str, Any]) -> None:
    [row] = read(SourceKind.PREFERENCES, record)
    assert (row["prompt"], row["chosen"], row["rejected"]) == (ASKED, turn("So."), turn("No."))
    assert "strength" not in row


def test_people_who_contradict_each_other_prefer_nothing() -> None:
    said = [{"value": each} for each in ("response_1", "response_2")]
    record = {"fields": {"prompt": "Why?", "response_1": "a", "response_2": "b"}, "responses": {"best": said}}
    assert "finds no response better than another" in refusal(SourceKind.PREFERENCES, record)


def test_the_ratings_of_ultrafeedback_count_and_not_its_overall_score() -> None:
    """Some of its overall scores are known to be ten times too high."""
    record = {
        "instruction": "Why?",
        "completions": [rated("So.", 5, 5, overall_score=8.5), rated("No.", 1, 1, overall_score=10.0)],
    }
    [row] = read(SourceKind.PREFERENCES, record)
    assert row["chosen"] == turn("So.")


@pytest.mark.parametrize(
    ("said", "strength"),
    [({"strength": 3}, 3), ({"strength": "4"}, 4), ({}, None)],
)
def test_how_much_better_it_is_is_kept_where_the_file_says_it(said: dict[str, Any], strength: int | None) -> None:
    [row] = read(SourceKind.PREFERENCES, {"prompt": "Why?", "chosen": "So.", "rejected": "No."} | said)
    assert row.get("strength") == strength


@pytest.mark.parametrize(("preference", "strength"), [(-3, 4), (1, 2)])
def test_the_scale_of_helpsteer_is_read_as_ours(preference: int, strength: int) -> None:
    record = {"context": ASKED, "response1": "No.", "response2": "So.", "overall_preference": preference}
    [row] = read(SourceKind.PREFERENCES, record)
    assert row["strength"] == strength
    assert (row["chosen"] == turn("So.")) is (preference > 0)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"prompt": "Why?", "chosen": "So."}, "without a"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "So."}, "same text"),
        ({"prompt": "Why?"}, "has no two responses"),
        (
            {
                "prompt": ["Why?", "And?"],
                "response_a": ["Yes?", "a"],
                "response_b": ["No.", "b"],
                "model_a": "m",
                "model_b": "n",
                "winner": "model_a",
            },
            "whose earlier turns differ between the two models",
        ),
        ({"prompt": "Why?", "responses": ["So.", "No."]}, "does not say which response is better"),
        (
            {"prompt": "Why?", "responses": [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]},
            "finds no response better",
        ),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No.", "strength": 7}, "use 1 .marginally. to 4"),
        ({"prompt": "Why?", "chosen": "So.", "rejected": " "}, "blank"),
        (["Why?"], "not an object"),
    ],
)
def test_a_row_that_prefers_nothing_is_refused_with_what_to_do(record: Any, why: str) -> None:
    assert re.search(why, refusal(SourceKind.PREFERENCES, record))


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Why?", "completion": "So."},
        {"prompt": ASKED, "completion": turn("So.")},
        {"messages": [*ASKED, *turn("So.")]},
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"instruction": "Why?", "input": "", "output": "So."},
        {"question": "Why?", "answer": "So."},
        {"prompt": "Why?", "response": "So."},
        {"row": {"prompt": "Why?", "completion": "So."}, "row_idx": 0},
    ],
)
def test_an_answer_is_taken_from_beside_its_prompt_or_from_the_end_of_a_conversation(record: dict[str, Any]) -> None:
    [row] = read(SourceKind.COMPLETIONS, record)
    assert (row["prompt"], row["completion"]) == (ASKED, turn("So."))


def test_what_an_instruction_is_about_belongs_to_the_prompt() -> None:
    [row] = read(SourceKind.COMPLETIONS, {"instruction": "Sum it up.", "context": "A long text.", "response": "Short."})
    assert row["prompt"] == [{"role": "user", "content": "Sum it up.\n\nA long text."}]


def test_a_cell_of_a_table_may_hold_the_conversation_as_json() -> None:
    [row] = read(SourceKind.COMPLETIONS, {"messages": json.dumps([*ASKED, *turn("你好, مرحبا")])}, TABLE)
    assert (row["prompt"], row["completion"]) == (ASKED, turn("你好, مرحبا"))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"prompt": "Why?"}, "has no answer"),
        ({"messages": ASKED}, "has no answer"),
        ({"prompt": "Why?", "completion": "  "}, "has no answer|blank"),
        ({"completion": "So."}, "has no"),
        ({"prompt": "Why?", "completion": "x" * 2000}, "shorten it"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "calls a tool"),
    ],
)
def test_a_row_without_an_answer_is_refused(record: Any, why: str) -> None:
    assert re.search(why, refusal(SourceKind.COMPLETIONS, record))


def test_a_response_that_was_cut_off_teaches_no_end() -> None:
    record = {
        "prompt": "Why?",
        "responses": [{"text": "a", "rank": 0}, {"text": "b", "rank": 1, "finish_reason": "length"}],
    }
    [row] = read(SourceKind.PREFERENCES, record)
    assert row["rejected_finish_reason"] == "length"
    assert "chosen_finish_reason" not in row
