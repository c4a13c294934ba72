"""What verifiers find of answers is asked of another program, and nothing that happens to it is an answer's fault."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from training.data.checks import Case, Checks, Finding, verdict

VERIFIER = [sys.executable, str(Path(__file__).with_name("verifier.py"))]


def case(response: str, reference: str | None = "7", tests: Any = None) -> Case:
    return Case([{"role": "user", "content": "3 + 4?"}], response, reference, tests)


def test_every_case_has_its_findings_and_they_are_counted_by_verifier() -> None:
    with Checks(VERIFIER) as checks:
        found = [checks.of(case(text)) for text in ("It is 7", "It is 8", "perhaps 7", "It is 7 " + "!" * 40)]
        assert checks.of(case("It is 7", reference=None)) == []
    assert [[each.passed for each in one] for one in found] == [
        [True, True],
        [False, True],
        [None, True],
        [True, False],
    ]
    assert found[1][0] == Finding("sum", "1", False, "another number than 7")
    assert checks.to_json() == {
        "unavailable": None,
        "verifiers": {
            "short": {"passed": 3, "failed": 1, "unchecked": 0},
            "sum": {"passed": 2, "failed": 1, "unchecked": 1},
        },
    }


def test_a_case_that_makes_no_sense_could_not_be_checked() -> None:
    with Checks(VERIFIER) as checks:
        assert checks.of(case("7", tests="nonsense")) == [
            Finding("case", "", None, "tests: missing or of the wrong type")
        ]
        assert checks.of(case("7"))[0].passed is True, "and costs no other"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ([], "no command is set"),
        (["/nowhere/verifiers"], "“/nowhere/verifiers” cannot be started (No such file or directory)"),
        ([*VERIFIER, "deaf"], "deaf” ended with status 0 instead of answering"),
        ([*VERIFIER, "prose"], "prose” answers what is no JSON: b'Gladly!'"),
        ([*VERIFIER, "odd"], "passed is 'yes', but must be true, false or null"),
        ([*VERIFIER, "dies"], "dies” ended with status 3 instead of answering"),
        ([sys.executable, "-m", "nowhere.verifiers"], "ended with status 1 instead of answering"),
    ],
)
def test_a_program_that_cannot_be_asked_finds_nothing_and_says_why(command: list[str], why: str) -> None:
    with Checks(command) as checks:
        assert checks.of(case("kill 8")) == []
        assert checks.of(case("8")) == [], "it is not started for each answer again"
    assert why in str(checks.unavailable)


def test_a_program_that_ended_between_two_cases_is_started_again() -> None:
    with Checks(VERIFIER) as checks:
        checks.of(case("7"))
        process = checks._process
        assert process is not None
        process.kill()
        process.wait()
        assert checks.of(case("7"))[0].passed is True
        assert checks.unavailable is None


def test_only_required_findings_decide_and_what_nobody_checked_is_unknown() -> None:
    right, wrong, unclear = (
        Finding(name, "1", passed, "") for name, passed in (("a", True), ("b", False), ("c", None))
    )
    assert verdict([right, wrong], None) is False
    assert verdict([right, wrong], ["a"]) is True
    assert verdict([right, unclear], None) is None
    assert verdict([wrong, unclear], None) is False
    assert verdict([right], ["b"]) is None
    assert verdict([], None) is None


def test_the_verifiers_of_this_project_speak_these_lines() -> None:
    no_comma = [{"kind": "instructions", "ids": ["punctuation:no_comma"], "kwargs": [{}]}]
    with Checks([sys.executable, "-m", "workers.verifiers"]) as checks:
        found = [checks.of(case(text, tests=no_comma), ["instructions"]) for text in ("Seven it is.", "Well, seven.")]
        assert checks.unavailable is None
    assert [[(each.verifier, each.passed) for each in one] for one in found] == [
        [("instructions", True)],
        [("instructions", False)],
    ]
