"""Tests that a model wrote are kept only where they tell right from wrong."""

from __future__ import annotations

import pytest

from tests.verifiers.coding import calls, fenced, here, programs
from workers.verifiers.code import keep
from workers.verifiers.code.keep import keep_tests
from workers.verifiers.code.outcome import Outcome

LIKE = {"kind": "calls", "language": "python", "names": ["add"]}
REFERENCE = fenced("def add(a, b):\n    return a + b")
WRITTEN = """
import os, random
THREE = 3
assert add(1, 2) == THREE
assert add(0, 0) == 0, "nothing"
assert add(1, 2) == 4
assert True
assert add(1, 1) is not 5
assert add(2, 2) == 4 or os._exit(0)
"""


def test_a_test_is_kept_where_the_reference_passes_and_a_stub_fails() -> None:
    candidates = keep.tests_in(fenced(WRITTEN), LIKE)

    kept = keep_tests(candidates, REFERENCE, sandbox=here())

    lasts = [test["code"].splitlines()[-1] for test in kept.tests]
    assert lasts == [
        "assert add(1, 2) == THREE",
        "assert add(0, 0) == 0, 'nothing'",
    ]
    why = {test["code"].splitlines()[-1]: reason for test, reason in kept.dropped}
    assert why["assert add(1, 2) == 4"].startswith("the reference does not pass: 0 of 1 test passed: add(1, 2) gave 3")
    assert "never call the solution" in why["assert True"]
    assert why["assert add(1, 1) is not 5"].startswith("a stub does not fail")
    assert "ended themselves" in why["assert add(2, 2) == 4 or os._exit(0)"]


def test_what_the_reference_passes_by_chance_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = iter([Outcome(1, 1), Outcome(0, 1)])
    monkeypatch.setattr(keep, "run_test", lambda *_: next(ran))

    kept = keep_tests([calls("assert add(1, 1) == 2", "add")], REFERENCE, sandbox=here())

    assert [reason for _, reason in kept.dropped] == ["the reference does not pass: 0 of 1 test passed"]


def test_a_stub_of_ones_own_says_what_a_test_must_tell_apart() -> None:
    tests = [calls("assert add(2, 2) == 4", "add"), calls("assert add(2, 3) == 5", "add")]

    kept = keep_tests(tests, REFERENCE, fenced("def add(a, b):\n    return a * b"), sandbox=here())

    assert kept.tests == tests[1:]


def test_programs_are_tried_too() -> None:
    tests = [
        programs(("2", "4")),
        programs(("0", "")),
        programs(("x", "4")),
        {**programs(("", "")), "language": "cobol"},
    ]

    kept = keep_tests(tests, fenced("print(int(input()) * 2 or '')"), sandbox=here())

    assert kept.tests == tests[:1]
    assert [reason.split(":")[0] for _, reason in kept.dropped] == [
        "a stub does not fail",
        "the reference does not pass",
        "no sandbox runs its language",
    ]


@pytest.mark.parametrize("response", ["I cannot write tests.", "", fenced("<p>", "html")])
def test_a_response_without_tests_holds_none(response: str) -> None:
    assert keep.tests_in(response, LIKE) == []


def test_what_cannot_be_split_stays_whole() -> None:
    assert [test["code"] for test in keep.tests_in(fenced("assert add( ==\n"), LIKE)] == ["assert add( ==\n\n"]
    functions = "def test_it():\n    assert add(1, 1) == 2"
    assert [test["code"] for test in keep.tests_in(fenced(functions), LIKE)] == [functions + "\n"]
    assert keep_tests(keep.tests_in(fenced(functions), LIKE), REFERENCE, sandbox=here()).dropped == []


def test_more_than_can_be_tried_are_dropped_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "MOST_CANDIDATES", 1)
    tests = [calls(f"assert add({n}, 1) == {n + 1}", "add") for n in range(3)]

    kept = keep_tests(tests, REFERENCE, sandbox=here())

    assert kept.tests == tests[:1]
    assert {reason for _, reason in kept.dropped} == {"only the first 1 tests are tried"}
