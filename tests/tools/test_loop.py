from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from app.prompts.messages import strict
from workers.tools.loop import MOST_STEPS, Message, Trace, converse
from workers.tools.protocol import ToolFailed


class Doubling:
    """A tool that doubles, and refuses odd numbers."""

    name = "double"
    description = "Double a number."
    parameters: Final[dict[str, Any]] = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}

    def run(self, arguments: dict[str, Any]) -> str:
        if arguments["x"] % 2:
            raise ToolFailed("only even numbers")
        if arguments["x"] == 100:
            raise OSError("the tool is broken")
        return str(2 * arguments["x"])


def call(x: Any, name: str = "double") -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': {'x': x}})}\n</tool_call>"


def says(*turns: str) -> Callable[[list[Message], list[dict[str, Any]]], str]:
    """A model that says this, and sees each time what came before."""
    left = iter(turns)

    def ask(conversation: list[Message], tools: list[dict[str, Any]]) -> str:
        assert [tool["function"]["name"] for tool in tools] == ["double"]
        assert conversation[-1]["role"] in ("user", "tool")
        return next(left)

    return ask


def run(*turns: str) -> Trace:
    return converse([{"role": "user", "content": "Double 2 twice."}], says(*turns), [Doubling()])


def test_an_answer_in_words_ends_it_at_once() -> None:
    trace = run("It is 4.")
    assert (trace.turns, trace.kept) == ([{"role": "assistant", "content": "It is 4."}], True)


def test_calls_are_run_one_step_after_another_and_their_results_are_shown() -> None:
    trace = run("First this.\n" + call(2), call(4), "It is 8.")
    assert [turn["role"] for turn in trace.turns] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert [turn["content"] for turn in trace.turns] == ["First this.", "4", "", "8", "It is 8."]
    assert (trace.ended, trace.kept) == ("answered", True)


def test_its_turns_are_messages_as_prompts_hold_them() -> None:
    trace = run(call(2) + call(4), "8 and 4.")
    assert strict(trace.turns) == trace.turns
    assert [turn["tool_call_id"] for turn in trace.turns if turn["role"] == "tool"] == ["call_1", "call_2"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (call(3), "only even numbers"),
        (call(100), "broke: OSError"),
        (call("2"), "not of type 'integer'"),
        (call(2, "triple"), "no tool is called triple"),
    ],
)
def test_a_call_that_fails_is_told_to_the_model_and_the_trace_is_not_kept(wrong: str, why: str) -> None:
    trace = run(wrong, call(2), "It is 4.")
    assert why in trace.turns[1]["content"]
    assert trace.turns[1]["content"].startswith("Error: ")
    assert (trace.ended, trace.kept, len(trace.failed)) == ("answered", False, 1)


def test_a_call_that_cannot_be_read_ends_it() -> None:
    trace = run("<tool_call><html>503</html></tool_call>")
    assert (trace.ended, trace.kept) == ("broken", False)


def test_a_model_that_never_answers_is_asked_eight_times() -> None:
    trace = run(*[call(2)] * 20)
    assert sum(turn["role"] == "assistant" for turn in trace.turns) == MOST_STEPS == 8
    assert (trace.ended, trace.kept) == ("steps", False)
