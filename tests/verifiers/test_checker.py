"""A check may hang, die, fill its memory or talk: it costs its own finding, and never another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verifiers import misbehaving
from workers.verifiers.checker import Checker, CheckerBroken, WrongCase
from workers.verifiers.protocol import MOST_EVIDENCE, Case, case_of

CASE = Case(prompt=[{"role": "user", "content": "你好, سلام"}], response="Hello 🌍")


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker([sys.executable, "-m", misbehaving.__name__]) as checker:
        yield checker


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("hangs", "longer than 1 s"),
        ("computes", "longer than 1 s"),
        ("dies", "ended with status 3"),
        ("fills", "MemoryError"),
        ("raises", "LookupError: nothing here"),
        ("doubts", "LookupError: nothing here"),
        ("lacks", "ModuleNotFoundError"),
    ],
)
def test_what_could_not_be_checked_is_null_with_its_reason_and_harms_no_other(
    checker: Checker, name: str, says: str
) -> None:
    before, broken, after = checker.check(CASE, ["good", name, "last"])

    assert (before.passed, after.passed) == (True, True)
    assert (broken.verifier, broken.passed, broken.score) == (name, None, None)
    assert says in broken.message


def test_several_that_die_in_one_case_each_have_their_finding(checker: Checker) -> None:
    found = checker.check(CASE, ["dies", "hangs", "good", "dies"])

    assert [finding.passed for finding in found] == [None, None, True, None]


def test_what_a_check_loads_first_is_not_in_its_time(checker: Checker) -> None:
    (finding,) = checker.check(CASE, ["loads"])

    assert finding.passed is True, finding.message


def test_what_a_library_prints_is_not_taken_for_a_finding(checker: Checker) -> None:
    (finding,) = checker.check(CASE, ["prints"])

    assert (finding.passed, finding.message) == (True, "all is well really")


def test_evidence_is_cut_until_it_can_be_kept(checker: Checker) -> None:
    (finding,) = checker.check(CASE, ["talks"])

    assert len(json.dumps(finding.evidence, ensure_ascii=False).encode()) <= MOST_EVIDENCE
    assert finding.evidence["text"].startswith("éé")
    assert "…" in finding.evidence["text"]


def test_a_name_that_no_verifier_has_is_refused_by_name(checker: Checker) -> None:
    with pytest.raises(WrongCase, match="No verifier is called “oracle”"):
        checker.check(CASE, ["good", "oracle"])


def test_a_process_that_does_not_start_says_nothing_of_any_response() -> None:
    with Checker([sys.executable, "-c", ""]) as checker, pytest.raises(CheckerBroken, match="does not work"):
        checker.check(CASE)


def test_a_process_killed_between_two_cases_is_replaced(checker: Checker) -> None:
    checker.check(CASE, ["good"])
    assert checker._process is not None
    checker._process.kill()
    checker._process.wait()

    assert checker.check(CASE, ["good"])[0].passed is True


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({}, "prompt, response"),
        ({"prompt": "Why?", "response": "x"}, "prompt"),
        ({"prompt": [], "response": None}, "response"),
        ({"prompt": [], "response": "", "tests": ["x"]}, "tests"),
        ({"prompt": [], "response": "", "tools": {}}, "tools"),
        ({"prompt": [], "response": "", "reference": 4}, "reference"),
    ],
)
def test_a_wrong_case_names_its_fields(record: dict[str, object], names: str) -> None:
    with pytest.raises(ValueError, match=f"^{names}: "):
        case_of(record)


def test_one_test_stands_for_a_list_of_one_and_equal_cases_have_one_hash() -> None:
    one = case_of({"prompt": [], "response": "", "tests": {"kind": "answer"}, "id": 3})
    other = case_of({"prompt": [], "response": "", "tests": [{"kind": "answer"}]})

    assert one.tests_of("answer") == [{"kind": "answer"}]
    assert one.hash == other.hash != CASE.hash


def test_the_command_line_answers_each_line_in_order_whatever_is_in_it() -> None:
    lines = [
        json.dumps({"id": 1, "case": {"prompt": [], "response": "x"}}),
        "no JSON",
        "",
        json.dumps({"id": "two", "case": {"prompt": []}}),
        json.dumps({"id": 3, "case": {"prompt": [], "response": "x"}, "verifiers": ["oracle"]}),
        json.dumps([1]),
        json.dumps({"id": {"a": 1}, "case": {"prompt": [], "response": "y"}, "verifiers": []}),
    ]

    done = subprocess.run(
        [sys.executable, "-m", "workers.verifiers"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, None, "two", 3, None, {"a": 1}]
    assert ["error" in answer for answer in answers] == [False, True, True, True, True, False]
    assert answers[0]["findings"] == []
    assert len(answers[0]["case_hash"]) == 64
