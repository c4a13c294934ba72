"""The sample batch shows what can be checked: each of its tests takes a right response and refuses its wrong twin."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from app.kernel.settings import ROOT, get_settings
from app.prompts.parsing import limits_of, parse
from app.prompts.records import ParsedPrompt
from app.prompts.service import SAMPLE_FILE
from tests.verifiers.coding import here
from tests.verifiers.twins import TWINS
from workers.verifiers import facts, registry
from workers.verifiers.checker import Checker
from workers.verifiers.protocol import Case, Finding

RECORDS: dict[str, dict[str, Any]] = {
    record["id"]: record for record in map(json.loads, SAMPLE_FILE.read_text(encoding="utf-8").splitlines())
}
CHECKED = [name for name, record in RECORDS.items() if record.get("tests")]
JUDGED = {"factual-moon-phases"}
"""What only a judge can tell."""


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as checker:
        yield checker


def case_of(name: str, response: str) -> Case:
    record = RECORDS[name]
    said = [
        {"role": role, "content": record[key]}
        for role, key in (("system", "system"), ("user", "prompt"))
        if key in record
    ]
    return Case(said, response, record.get("reference"), record["tests"], record.get("tools"))


def failed(findings: list[Finding]) -> list[str]:
    return [f"{each.verifier}: {each.message}" for each in findings if each.passed is False]


@pytest.mark.parametrize("name", [name for name in CHECKED if name not in JUDGED])
def test_a_right_response_passes_and_its_wrong_twin_fails(checker: Checker, name: str) -> None:
    if RECORDS[name]["capability"] == "coding" or any(test["kind"] == "program" for test in RECORDS[name]["tests"]):
        here()
    right, wrong = (checker.check(case_of(name, response)) for response in TWINS[name])
    assert failed(right) == []
    assert any(each.passed for each in right), right
    assert failed(wrong), wrong


@pytest.mark.parametrize("name", JUDGED)
def test_what_only_a_judge_can_tell_is_null_where_none_is_asked(checker: Checker, name: str) -> None:
    case = case_of(name, "It is the shadow of the Earth.")
    assert facts.question_of(case).source == RECORDS[name]["reference"]
    assert [(each.verifier, each.passed) for each in checker.check(case)] == [(facts.NAME, None)]


def test_every_capability_has_something_to_check() -> None:
    assert set(TWINS) == set(CHECKED) - JUDGED
    checked = Counter(RECORDS[name]["capability"] for name in CHECKED)
    assert checked.keys() == {record["capability"] for record in RECORDS.values()}
    assert {test["kind"] for name in CHECKED for test in RECORDS[name]["tests"]} == {
        "calls", "io", "answer", "program", "steps", "instructions", "tool_calls", "language", "span", "facts"
    }  # fmt: skip
    assert {test["language"] for name in CHECKED for test in RECORDS[name]["tests"] if "language" in test} == {
        "python", "javascript", "shell", "sql"
    }  # fmt: skip
    responses = {name: right for name, (right, _) in TWINS.items()}
    verifiers = {each for name in CHECKED for each in registry.applying(case_of(name, responses.get(name, "Yes.")))}
    assert verifiers == set(registry.names())


def test_the_import_keeps_the_tests_as_they_are() -> None:
    _, records = parse(SAMPLE_FILE.name, SAMPLE_FILE.read_bytes(), limits_of(get_settings()))
    parsed = {record.external_id: record for record in records if isinstance(record, ParsedPrompt)}
    assert {name: parsed[name].tests for name in CHECKED} == {name: RECORDS[name]["tests"] for name in CHECKED}
    assert SAMPLE_FILE.stat().st_size < 64 * 1024, "it is in every installation and every snapshot of its round"


def test_the_examples_of_the_documentation_are_what_is_found(checker: Checker) -> None:
    here()
    page = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert len(shown) >= 9
    for name, verifier, message in shown:
        (finding,) = checker.check(case_of(name, TWINS[name][1]), [verifier])
        assert (finding.passed, finding.message) == (False, message)
