"""``python -m workers.tools``: what a training asks, and what it is answered."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from workers.tools.__main__ import main
from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.protocol import shown

CALCULATOR, SEARCH = shown(Calculator()), shown(Search({}))
FOREIGN = {"name": "demo__weather", "parameters": {"type": "object", "properties": {}}}
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "21*2"}}</tool_call>'


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(Calculator, "run", lambda *_: "42")

    def ask(*lines: Any) -> list[dict[str, Any]]:
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n\n"))
        assert main() == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return ask


def test_it_says_which_tools_it_runs_and_which_it_would_need_more_for(asked: Any) -> None:
    tested = [{"kind": "tool_calls", "calls": []}]
    given = [[CALCULATOR], [CALCULATOR, SEARCH], [CALCULATOR, FOREIGN], [{"name": "weather"}], [{}], [], None]
    lines = [{"id": number, "tools": tools} for number, tools in enumerate(given)]
    lines.append({"id": 7, "tools": [CALCULATOR], "tests": tested})
    assert [line["runs"] for line in asked(*lines)] == [True, None, None, False, False, False, False, False]


def test_a_turn_is_answered_by_what_follows_it(asked: Any) -> None:
    turn = {"id": 1, "tools": [CALCULATOR], "turn": CALL, "cut": False, "steps": []}
    first, second, words, broken, cut = asked(
        turn,
        turn | {"steps": [{"role": "assistant", "tool_calls": [{"id": "call_1"}], "said": CALL}]},
        turn | {"turn": "It is 42."},
        turn | {"turn": "<tool_call>nonsense"},
        turn | {"cut": True},
    )
    assert first["ended"] is None
    assert [step["role"] for step in first["steps"]] == ["assistant", "tool"]
    assert (first["steps"][0]["said"], first["steps"][1]["content"]) == (CALL, "42")
    assert second["steps"][1]["tool_call_id"] == "call_2", "calls are numbered through"
    assert [(each["ended"], each["steps"]) for each in (words, broken, cut)] == [
        *(("answered", []), ("broken", []), ("cut", [])),
    ]


def test_a_line_that_is_wrong_is_answered_by_what_is_wrong_with_it(asked: Any) -> None:
    turn = {"id": 1, "tools": [CALCULATOR], "turn": CALL, "steps": []}
    wrong = ["{", "[]", turn | {"turn": 3}, turn | {"steps": None}, turn | {"tools": [SEARCH]}, turn | {"tools": "x"}]
    assert all("error" in line for line in asked(*wrong))
