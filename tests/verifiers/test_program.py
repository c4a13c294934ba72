"""Reasoning that is written as Python is run, and what it prints last is the answer."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import fenced
from workers.sandbox import NoSandbox, find_sandbox
from workers.verifiers.code.program import Program
from workers.verifiers.protocol import Case, Finding, checked
from workers.verifiers.registry import applies


@pytest.fixture(autouse=True)
def _sandbox() -> None:
    try:
        find_sandbox()
    except NoSandbox as error:
        pytest.skip(str(error))


def run(code: str, reference: str | None = "5", **test: object) -> Finding:
    prompt = [{"role": "user", "content": "Four apples and one more: how many?"}]
    case = Case(prompt, f"I compute it:\n\n{code}", reference, [{"kind": "program", **test}])
    assert applies("program", case)
    return checked(Program(), case)


@pytest.mark.parametrize(
    ("code", "value", "passed", "says"),
    [
        ("print(4)\nprint(2 + 2 + 1)", "5", True, "It prints 5, as wanted"),
        ("print('The answer is', 5.0)", "5", True, "as wanted"),
        ("print(0.1 + 0.2)", "0.3", True, "It prints 0.3, as wanted"),
        ("print(2 + 2 + 2)", "5", False, "It prints 6, but 5 is wanted"),
        ("print(1 / 0)", "5", False, "The program failed: ZeroDivisionError: division by zero"),
        ("x = 5", "5", False, "The program prints nothing"),
        ("import numpy_that_is_not_there", "5", None, "needs the module numpy_that_is_not_there"),
        ("print('no idea')", "5", None, "no number can be read"),
    ],
)
def test_what_it_prints_last_is_held_to_the_answer(code: str, value: str, *, passed: bool | None, says: str) -> None:
    for found in (run(fenced(code, "python"), value), run(fenced(code, "python"), None, value=value)):
        assert (found.passed, says in found.message) == (passed, True), found.message


def test_without_an_answer_it_is_enough_that_it_runs_and_without_code_it_fails() -> None:
    assert run(fenced("print(5)", "python"), None).passed is True
    assert run(fenced("raise SystemExit(3)", "python"), None).message == "The program failed: exit status 3"
    assert run("", None).message == "The response holds no Python code"
