"""Which prompts Corral answers step by step."""

from __future__ import annotations

from typing import Any

import pytest

from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.interpreter import Interpreter
from workers.tools.kit import made, runs, searches
from workers.tools.protocol import shown

OURS = [shown(Calculator()), shown(Interpreter()), shown(Search({}))]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
OTHER_CALCULATOR = {
    "name": "calculator",
    "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
}


@pytest.mark.parametrize(
    ("tools", "tests", "expected"),
    [
        (OURS, None, True),
        (OURS[:1], [{"kind": "answer"}], True),
        ([OURS[0]["function"]], None, True),
        (None, None, False),
        ([], None, False),
        ([*OURS, WEATHER], None, False),
        ([OTHER_CALCULATOR], None, False),
        (["calculator"], None, False),
        ([{"function": {"name": "calculator", "parameters": "none"}}], None, False),
        (OURS, {"kind": "tool_calls", "calls": []}, False),
        (OURS, [{"kind": "answer"}, {"kind": "tool_calls", "calls": []}], False),
    ],
)
def test_calls_are_run_where_every_tool_is_corrals_and_the_calls_are_not_what_is_tested(
    tools: list[Any] | None, tests: Any, *, expected: bool
) -> None:
    assert runs(tools, tests) is expected


def test_each_tool_is_made_once_and_the_search_has_its_documents() -> None:
    search = Search({"a.txt": "text"})
    assert searches(OURS)
    assert not searches(OURS[:2])
    assert [tool.name for tool in made([*OURS, OURS[0]], search)] == ["calculator", "python", "search"]
    assert search in made(OURS, search)
