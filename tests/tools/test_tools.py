"""Tools answer in words, fail in words, and never run what a calculator or a search is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.sandbox import NoSandbox, find_sandbox
from workers.tools import calculator
from workers.tools.calculating import calculated
from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.interpreter import Interpreter
from workers.tools.protocol import MOST_CHARACTERS, ToolFailed, cut
from workers.tools.schemas import fault_of


def calculate(expression: str) -> str:
    return Calculator().run({"expression": expression})


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("2 + 3 * 4", "14"),
        ("0.1 + 0.2", "3/10 = 0.300000000000000"),
        ("2^10", "1024"),
        ("-7 // 2", "-4"),
        ("sqrt(2)", "sqrt(2) = 1.41421356237310"),
        ("solve(x**2 == 4, x)", "[-2, 2]"),
        ("diff(x**3, x)", "3*x**2"),
        ("integrate(x, (x, 0, 2))", "2"),
        ("3 miles to km", "4.828032 kilometer"),
        ("100 degF in degC", "37.7777777778 degree_Celsius"),
    ],
)
def test_the_calculator_is_exact_and_knows_units(expression: str, answer: str) -> None:
    assert calculated(expression) == answer


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "2 +",
        "__import__('os').system('touch {file}')",
        "open('{file}', 'w')",
        "(1).__class__",
        "[x for x in (1, 2)]",
        "'a' * 3",
        "eval('1')",
        "__import__('os').system('touch {file}') to km",
        "3 apples to km",
    ],
)
def test_what_is_no_expression_fails_and_is_never_run(expression: str, tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # of whatever kind: its process says it in words
        calculated(expression.format(file=tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_the_calculator_answers_from_a_process_of_its_own_in_words() -> None:
    assert calculate("2 + 3 * 4") == "14"
    with pytest.raises(ToolFailed, match="nothing that can be calculated"):
        calculate("(1).__class__")


def test_an_expression_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculator, "LIMIT_S", 2.0)
    with pytest.raises(ToolFailed, match="longer than 2 s"):
        calculate("9**9**9**9")


DOCUMENTS = {
    "bridge.txt": "The bridge was built in 1932.\n\nIts cost was two million pounds.",
    "北京.txt": "北京是中国的首都，有两千万人口。\n\n上海在海边。",
    "thai.txt": "กรุงเทพเป็นเมืองหลวงของประเทศไทย",
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("bridge 1932", "built in 1932"),
        ("what did it COST?", "two million pounds"),
        ("首都", "北京是中国的首都"),
        ("中国的首都", "北京是中国的首都"),
        ("เมืองหลวง", "กรุงเทพ"),
        ('"bridge" OR NEAR(', "bridge was built"),
        ("name:bridge*", "bridge was built"),
    ],
)
def test_a_search_finds_the_passage_in_every_script(query: str, found: str) -> None:
    answer = Search(DOCUMENTS).run({"query": query})
    assert found in answer
    assert answer.startswith("[")


@pytest.mark.parametrize("query", ["", "?!", "zebra"])
def test_a_search_without_a_result_says_so(query: str) -> None:
    with pytest.raises(ToolFailed):
        Search(DOCUMENTS).run({"query": query})


def test_a_long_document_is_found_by_its_passages_and_no_word_of_it_is_lost() -> None:
    text = " ".join(f"word{number}" for number in range(5000)) + "x" * 3000 + "needle"
    assert "needle" in Search({"long": text}).run({"query": "needle"})
    assert len(Search({"long": text}).run({"query": "word4321"})) < MOST_CHARACTERS


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    try:
        return Interpreter(find_sandbox())
    except NoSandbox as error:
        pytest.skip(f"there is no sandbox here: {error}")


@pytest.mark.parametrize(
    ("code", "answer"), [("2 ** 100", str(2**100)), ("x = 3\nprint('a', x)\nx + 1", "a 3\n4"), ("x = 1", ""), ("", "")]
)
def test_the_interpreter_prints_what_the_code_prints_and_its_last_value(
    interpreter: Interpreter, code: str, answer: str
) -> None:
    assert interpreter.run({"code": code}) == answer


@pytest.mark.parametrize(
    ("code", "why"), [("1 / 0", "ZeroDivisionError"), ("while", "SyntaxError"), ("raise SystemExit(3)", "3")]
)
def test_code_that_fails_says_why(interpreter: Interpreter, code: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        interpreter.run({"code": code})


def test_where_there_is_no_sandbox_no_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise NoSandbox("Install bubblewrap.")

    monkeypatch.setattr("workers.tools.interpreter.find_sandbox", none)
    with pytest.raises(ToolFailed, match="Install bubblewrap"):
        Interpreter().run({"code": "1"})


def test_a_long_answer_is_cut_in_its_middle() -> None:
    answer = cut("a" * 50_000 + "end")
    assert len(answer) < MOST_CHARACTERS + 10
    assert answer.endswith("end")


@pytest.mark.parametrize("tool", [Calculator, Interpreter, Search])
def test_the_schema_of_each_tool_can_be_used(tool: Any) -> None:
    (argument,) = tool.parameters["properties"]
    assert fault_of({argument: "x"}, tool.parameters, tool.name) is None
    assert fault_of({argument: 7}, tool.parameters, tool.name) is not None
