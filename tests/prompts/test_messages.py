"""Messages of every source come in one form, from which every export can be written; what has none is refused."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.prompts.bounded_json import Refused
from app.prompts.messages import read, strict
from app.prompts.parsing import Refusal
from app.prompts.records import ParsedPrompt
from tests.prompts.reading import USER, line, one, reason
from tests.prompts.reading import read as read_file
from training.formats.texts import shows_nothing

STRICT = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"city":"Oslo"}'}}
GIVEN = {"city": "Oslo"}


def called(calls: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": calls} | more, USER]}


# ── Calls of tools ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "calls",
    [
        [STRICT],
        STRICT,
        json.dumps([STRICT]),
        [{"name": "w", "arguments": GIVEN}],
        [{"name": "w", "arguments": '{"city":"Oslo"}'}],
        [{"name": "w", "parameters": GIVEN, "id": None}],
        [{"type": "tool_use", "name": "w", "input": GIVEN}],
        [{"index": 0, "function": {"name": "w", "arguments": GIVEN}}],
    ],
)
def test_a_call_in_any_known_form_is_stored_in_one(calls: Any) -> None:
    assert one(called(calls)).messages[1] == {"role": "assistant", "content": "", "tool_calls": [STRICT]}


@pytest.mark.parametrize("arguments", [None, "", {}, "{}"])
def test_a_call_without_arguments_has_an_empty_object(arguments: Any) -> None:
    (call,) = one(called([{"name": "w", "arguments": arguments}])).messages[1]["tool_calls"]
    assert call["function"] == {"name": "w", "arguments": "{}"}


@pytest.mark.parametrize(
    "calling",
    [
        {"role": "assistant", "content": None, "function_call": {"name": "w", "arguments": '{"city":"Oslo"}'}},
        {"from": "function_call", "value": '{"name": "w", "arguments": {"city": "Oslo"}}'},
        {"from": "tool_call", "value": '{"name": "w", "arguments": {"city": "Oslo"}}'},
    ],
)
def test_the_older_forms_of_a_call_are_read(calling: dict[str, Any]) -> None:
    assert one({"messages": [USER, calling, USER]}).messages[1]["tool_calls"] == [STRICT]


def test_each_result_has_the_id_of_its_call() -> None:
    calls = [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}, {"id": 7, "name": "c"}]
    results = [
        {"role": "function", "name": "b", "content": "of b"},
        {"from": "observation", "value": "of a"},
        {"role": "tool", "tool_call_id": 7, "content": "of c"},
    ]

    messages, _ = read([USER, {"role": "assistant", "tool_calls": calls}, *results, USER])

    ids = {call["function"]["name"]: call["id"] for call in messages[1]["tool_calls"]}
    assert ids["c"] == "7"
    assert len(set(ids.values())) == 3
    assert [message["tool_call_id"] for message in messages[2:5]] == [ids["b"], ids["a"], "7"]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (called("none"), "text that is not JSON"),
        (called(3), "tool calls are a number"),
        (called(["w"]), "a tool call that is text"),
        (called([{"arguments": GIVEN}]), "names no function"),
        (called([{"name": ["w"], "arguments": {}}]), "name is a list"),
        (called([{"name": "w", "arguments": "city=Oslo"}]), "not a JSON object"),
        (called([{"name": "w", "arguments": [1]}]), "not a JSON object"),
        (called([{"name": "w", "cost": 3}]), '"cost"'),
        (called([{"function": {"name": "w", "cost": 3}}]), '"cost"'),
        (called([{"type": "web_search", "name": "w"}]), "not a function"),
        (called([{"id": {"a": 1}, "name": "w"}]), "id is an object"),
        (called([STRICT], function_call={"name": "w"}), "keep one"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [STRICT]}]}, "only the assistant"),
        ({"messages": [{"role": "user", "content": "", "tool_calls": []}]}, "blank"),
        ({"messages": [{"role": "user", "content": "x", "name": {"a": 1}}]}, "name is an object"),
        ({"messages": [USER, {"from": "function_call", "value": "w(1)"}, USER]}, "not JSON"),
        ({"messages": [USER, {"from": "function_call", "value": " "}, USER]}, "not JSON"),
        ({"messages": [{"role": "user", "content": "x", "images": ["a.png"]}]}, '"images"'),
        ({"prompt": "What is on it?", "image": {"bytes": "iVBOR"}}, '"image"'),
        ({"row_idx": 0, "row": {"prompt": "x"}, "truncated_cells": ["prompt"]}, "cut short"),
    ],
)
def test_what_has_no_strict_form_is_refused_in_a_sentence(record: object, said: str) -> None:
    assert said in reason(line(record))


leaf = st.none() | st.integers() | st.text(max_size=4) | st.just({"name": "w"}) | st.lists(st.just(STRICT))
keys = ["role", "content", "from", "value", "name", "tool_calls", "tool_call_id", "function_call"]
loose = st.lists(st.dictionaries(st.sampled_from(keys), leaf | st.sampled_from(["user", "tool", "assistant"])))


@given(loose)
def test_the_strict_form_of_anything_is_strict(messages: list[dict[str, Any]]) -> None:
    once = strict(messages)

    assert strict(once) == once
    for message in once:
        assert isinstance(message["content"], str)
        assert message.keys() <= {"role", "content", "name", "tool_call_id", "tool_calls"}
        assert all(isinstance(message.get(key, ""), str) for key in ("name", "tool_call_id"))
        assert all(isinstance(call["function"]["arguments"], str) for call in message.get("tool_calls", ()))


@given(loose)
def test_what_is_read_is_strict_already(messages: list[dict[str, Any]]) -> None:
    try:
        made, _ = read(messages)
    except Refused:
        return
    assert strict(made) == made


# ── What shows nothing ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "text", ["", " \t\n", "\u3000", "\u200b\u2060\ufeff", "\u3164", "\u2800", "\u202e", "\ufe0f\u034f"]
)
def test_a_text_of_invisible_characters_is_blank_wherever_it_stands(text: str) -> None:
    assert shows_nothing(text)
    assert "blank" in reason(line({"prompt": text}))
    assert "blank" in reason(line({"messages": [{"role": "user", "content": text}]}))
    assert "blank" in reason(line({"turns": [text]}))


@pytest.mark.parametrize("text", [".", "\u200bx", "👩\u200d🚀", "é", "؟", "\u06dd", "\U0001fae9"])
def test_a_text_with_one_character_that_shows_is_not_blank(text: str) -> None:
    assert one({"prompt": text}).messages[0]["content"] == text


# ── What is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("key", ["id", "key", "task_id", "prompt_id", "question_id"])
def test_the_name_that_a_source_gives_is_the_prompts_id(key: str) -> None:
    assert one({"prompt": "Why?", key: "HumanEval/7"}).external_id == "HumanEval/7"


def test_nothing_that_a_source_says_replaces_another_thing_that_it_says() -> None:
    parsed = one(
        {
            "id": "a",
            "task_id": "b",
            "question": "Why?",
            "answer": "Because.",
            "reference": "Rayleigh",
            "source": "outside",
            "metadata": {"source": "inside"},
        }
    )

    assert parsed.reference == "Rayleigh"
    assert parsed.metadata == {"source": "inside", "source_2": "outside", "task_id": "b", "answer": "Because."}


def test_user_turns_called_prompt_are_kept_with_their_references() -> None:
    parsed = one({"prompt_id": 81, "prompt": ["First", "Second"], "reference": ["r1", "r2"]})

    assert parsed.messages == [{"role": "user", "content": "First"}]
    assert (parsed.external_id, parsed.reference) == ("81", "r1")
    assert parsed.metadata == {"later_turns": ["Second"], "later_references": ["r2"]}


def test_responses_beside_a_prompt_are_kept_and_said() -> None:
    parsed = one({"prompt": "Why?", "completion": "Because."})

    assert parsed.metadata == {"completion": "Because."}
    assert "responses" in (parsed.note or "")


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def cell(text: str, column: str = "prompt") -> ParsedPrompt | Refusal:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([[column], [text]])
    (answer,) = read_file(table.getvalue().encode(), "x.csv")
    return answer


@pytest.mark.parametrize(
    "text", ["[1, 2] means what?", "[1, 2]", "['a', 'b'] means what?", "[sic] it's 'fine']", "[it's]"]
)
def test_a_cell_that_only_looks_like_a_list_is_text(text: str) -> None:
    answer = cell(text)
    assert isinstance(answer, ParsedPrompt)
    assert answer.messages == [{"role": "user", "content": text}]


@pytest.mark.parametrize("column", ["prompt", "messages", "conversations", "turns"])
@pytest.mark.parametrize("text", [repr([USER]), repr(["It's", "b"]), "array([{'role': 'user'}], dtype=object)"])
def test_a_cell_that_python_printed_is_refused_with_the_remedy(column: str, text: str) -> None:
    if column == "prompt" and text.startswith("array"):
        return
    answer = cell(text, column)
    assert isinstance(answer, Refusal)
    assert "json.dumps" in answer.reason


def test_text_outside_of_a_table_stays_text() -> None:
    text = json.dumps([USER])
    assert one({"prompt": text}).messages == [{"role": "user", "content": text}]


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
def test_a_table_may_say_what_parts_its_cells(mark: str) -> None:
    (answer,) = read_file(f'sep={mark}\r\nprompt{mark}id\r\n"Why, oh; why?"{mark}1\r\n'.encode(), "x.csv")

    assert isinstance(answer, ParsedPrompt)
    assert (answer.line, answer.external_id, answer.messages[0]["content"]) == (3, "1", "Why, oh; why?")


def test_a_table_written_column_by_column_is_refused_by_its_shape() -> None:
    for table in ({"prompt": {"0": "a", "1": "b"}}, {"prompt": ["a", "b"], "id": [1, 2]}):
        assert "whole columns" in reason(json.dumps(table).encode(), "x.json")
