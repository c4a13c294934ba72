from __future__ import annotations

import json
from typing import Any

import pytest

from workers.engines.replies import EngineReplyError, StreamedAnswer, parse_answers, parse_object
from workers.tools.calls import Call, NotACall, calls_in


def reply(**changes: Any) -> bytes:
    choice = {"text": "Because of Rayleigh scattering.", "finish_reason": "stop", "token_ids": [1, 2, 3]}
    whole = {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    choice_changes = {
        name: changes.pop(name) for name in list(changes) if name in {"text", "finish_reason", "token_ids"}
    }
    choice.update(choice_changes)
    return json.dumps({**whole, **changes}).encode()


def test_a_good_reply_is_taken_as_it_is() -> None:
    (answer,) = parse_answers(reply(text=" Two\n\nlines — and ünïcode 🌊 "), 1)
    assert answer.text == " Two\n\nlines — and ünïcode 🌊 "
    assert (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("stop", 9, 3)


def test_a_chat_reply_is_read_too_and_counted_by_its_usage() -> None:
    body = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    }
    (answer,) = parse_answers(json.dumps(body).encode(), 1)
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("Yes.", "length", 2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (reply()[:-20], "cut off"),
        (b"<html>502 Bad Gateway</html>", "<html>502"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "list"),
        (reply(choices=[]), "0 answers"),
        (reply(choices=None), "no answers"),
        (reply(choices=["x"]), "empty"),
        (reply(text=""), "empty"),
        (reply(text=" \n\t"), "empty"),
        (reply(text=None), "empty"),
        (reply(text="a\x00b"), "NUL"),
        (reply(text="half \ud83d"), "surrogate"),
        (reply(finish_reason=None), "did not finish"),
        (reply(finish_reason="abort"), "did not finish"),
        (reply(finish_reason=["stop"]), "did not finish"),
        (reply(usage=None), "prompt_tokens"),
        (reply(usage={"prompt_tokens": True}), "prompt_tokens"),
        (reply(usage={"prompt_tokens": -1}), "prompt_tokens"),
        (reply(token_ids=None, usage={"prompt_tokens": 3}), "completion_tokens"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(body: bytes, says: str) -> None:
    with pytest.raises(EngineReplyError, match=says):
        parse_answers(body, 1)


def test_the_number_of_answers_must_be_what_was_asked_for() -> None:
    with pytest.raises(EngineReplyError, match="has 1 answers, not the 2"):
        parse_answers(reply(), 2)


def test_an_object_is_an_object() -> None:
    assert parse_object(b'{"version": "0.32.0"}') == {"version": "0.32.0"}


def chat(message: dict[str, Any]) -> bytes:
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    return json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}).encode()


def test_calls_that_come_apart_from_the_text_are_read_back_out_of_it() -> None:
    calls = [
        {"id": "x-1", "type": "function", "function": {"name": "search", "arguments": '{"query": "Zürich"}'}},
        {"id": "x-2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    (answer,) = parse_answers(chat({"content": "Let me look.", "tool_calls": calls}), 1)
    assert answer.text.startswith("Let me look.\n<tool_call>")
    assert calls_in(answer.text) == [Call("search", {"query": "Zürich"}), Call("now", {})]
    assert "x-1" not in answer.text, "the ids of an endpoint would say whose they are"


def test_arguments_that_are_no_json_stay_for_the_reader_of_the_call() -> None:
    call = {"function": {"name": "search", "arguments": "Zürich"}}
    (answer,) = parse_answers(chat({"content": None, "tool_calls": [call]}), 1)
    with pytest.raises(NotACall):
        calls_in(answer.text)


@pytest.mark.parametrize("calls", ["search", [7], [{"function": {"arguments": "{}"}}], [{"id": "x"}]])
def test_a_call_that_names_no_tool_is_none(calls: Any) -> None:
    with pytest.raises(EngineReplyError, match="without saying which"):
        parse_answers(chat({"content": "", "tool_calls": calls}), 1)


def test_a_stream_brings_calls_in_pieces() -> None:
    parts = StreamedAnswer()
    pieces = [
        {"delta": {"content": "Hm. "}},
        {"delta": {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "search", "arguments": ""}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"que'}}]}},
        {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": 'ry": "a"}'}}]}},
        {"delta": {}, "finish_reason": "tool_calls"},
    ]
    shown = [parts.take("data: " + json.dumps({"choices": [piece]})) for piece in pieces]
    parts.take("data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}))
    assert shown == ["Hm. ", "", "", "", ""]
    assert calls_in(parts.answer().text) == [Call("search", {"query": "a"})]
