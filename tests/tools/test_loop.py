from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

from app.prompts.messages import strict
from workers.tools.loop import MOST_CALLS, MOST_STEPS, Ask, Bounds, Message, Said, Trace, converse
from workers.tools.protocol import ToolFailed, shown


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


def says(*turns: str | None, tokens: int = 10) -> Ask:
    """A model that says this, and sees each time what came before."""
    left = iter(turns)

    async def ask(steps: list[Message], most: int) -> Said | None:
        assert most > 0
        assert not steps or steps[-1]["role"] == "tool"
        text = next(left)
        return None if text is None else Said(text, tokens)

    return ask


BOUNDS: Final = Bounds(tokens=100)


def run(*turns: str | None, tokens: int = 10, bounds: Bounds = BOUNDS) -> Trace:
    return asyncio.run(converse(says(*turns, tokens=tokens), [Doubling()], [shown(Doubling())], bounds))


def test_an_answer_in_words_ends_it_at_once() -> None:
    trace = run("It is 4.")
    assert (trace.steps, trace.text, trace.kept) == ([], "It is 4.", True)


def test_calls_are_run_one_step_after_another_and_their_results_are_shown() -> None:
    trace = run("First this.\n" + call(2), call(4), "It is 8.")
    assert [turn["role"] for turn in trace.steps] == ["assistant", "tool", "assistant", "tool"]
    assert [turn["content"] for turn in trace.steps] == ["First this.", "4", "", "8"]
    assert [turn["said"] for turn in trace.steps[::2]] == ["First this.\n" + call(2), call(4)], "as it was sampled"
    assert (trace.text, trace.ended, trace.kept) == ("It is 8.", "answered", True)


def test_its_turns_are_messages_as_prompts_hold_them() -> None:
    trace = run(call(2) + call(4), "8 and 4.")
    turns = [{key: value for key, value in turn.items() if key != "said"} for turn in trace.steps]
    assert strict(turns) == turns
    assert [turn["tool_call_id"] for turn in turns if turn["role"] == "tool"] == ["call_1", "call_2"]


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
    assert why in trace.steps[1]["content"]
    assert trace.steps[1]["content"].startswith("Error: ")
    assert trace.steps[1]["failed"] is True
    assert "failed" not in trace.steps[3]
    assert (trace.ended, trace.kept, len(trace.failed)) == ("answered", False, 1)


def test_a_call_that_cannot_be_read_ends_it() -> None:
    trace = run("<tool_call><html>503</html></tool_call>")
    assert (trace.ended, trace.kept) == ("broken", False)


def test_a_model_that_never_answers_is_asked_eight_times() -> None:
    trace = run(*[call(2)] * 20)
    assert sum(turn["role"] == "assistant" for turn in trace.steps) == MOST_STEPS - 1 == 7
    assert (trace.text, trace.ended, trace.kept) == (call(2), "steps", False)


def test_its_turns_have_a_bound_of_tokens_together() -> None:
    trace = run(*[call(2)] * 20, tokens=100)
    assert (len(trace.steps), trace.ended) == (6, "tokens"), "three turns whose calls ran, and a fourth"


def test_no_call_is_run_when_the_time_is_over() -> None:
    trace = run(call(2), bounds=Bounds(tokens=100, seconds=0))
    assert (trace.steps, trace.text, trace.ended) == ([], call(2), "time")


def test_where_the_template_cannot_show_results_the_call_is_the_answer() -> None:
    trace = run(call(2), None)
    assert (trace.steps, trace.text, trace.ended) == ([], call(2), "unshown")


def test_a_turn_has_a_bound_of_calls() -> None:
    trace = run(call(2) * (MOST_CALLS + 1), "Many.")
    assert [turn["content"] for turn in trace.steps[1:]].count("4") == MOST_CALLS
    assert "no more than 8 calls" in trace.steps[-1]["content"]


def test_what_no_database_keeps_is_left_out() -> None:
    class Broken(Doubling):
        def run(self, arguments: dict[str, Any]) -> str:
            return "a\0b\ud83d"

    trace = asyncio.run(converse(says(call(2), "Yes."), [Broken()], [shown(Broken())], BOUNDS))
    assert trace.steps[1]["content"] == "a\ufffdb?"
