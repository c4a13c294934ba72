"""The task: verifiers in a process of their own, over a real database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from app.kernel.db import session_scope
from app.prompts.models import Batch
from tests.factories import make_batch
from tests.findings import trivial
from tests.findings.checking import checkable, standing, states
from workers.tasks import checks
from workers.verifiers.checker import Checker


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker([sys.executable, "-m", trivial.__name__]) as checker:
        yield checker


@pytest.fixture(autouse=True)
def made_here(checker: Checker, committed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "checker", lambda: checker)
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)


def of(verifiers: list[str] | None = None, **values: Any) -> None:
    with session_scope() as session:
        batch: Batch = make_batch(session)
        batch.verifiers = verifiers
        checkable(session, "It is 42.", "IT IS 41.", batch=batch, **values)


def found() -> list[tuple[str, bool | None, str]]:
    with session_scope() as session:
        assert set(states(session)) == {"done"}
        return standing(session)


def test_every_verifier_that_applies_says_what_it_finds() -> None:
    of(tests=[{"kind": "quiet"}])
    assert checks.check() == 2
    assert found() == [
        ("holds", True, "1 of 1 tests"),
        ("quiet", True, "nothing is shouted"),
        ("holds", False, "42 wanted"),
        ("quiet", False, "nothing is shouted"),
    ]
    assert checks.check() == 0


def test_a_batch_may_name_its_verifiers() -> None:
    of(["quiet"], tests={"kind": "quiet"})
    checks.check()
    assert found() == [("quiet", True, "nothing is shouted"), ("quiet", False, "nothing is shouted")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tests": ["no test"]}, "Could not be checked: tests: missing or of the wrong type"),
        ({"verifiers": ["sings"]}, "Could not be checked: No verifier is called “sings”: there are holds, quiet"),
    ],
)
def test_what_is_wrong_with_a_prompt_or_a_batch_is_a_null_finding_with_its_reason(
    values: dict[str, Any], said: str
) -> None:
    of(**values)
    checks.check()
    assert found() == [("checks", None, said)] * 2


def test_a_prompt_to_which_no_verifier_applies_has_no_findings() -> None:
    of(reference=None, tests=[{"kind": "song"}])
    assert checks.check() == 2
    assert found() == []


def test_a_checker_that_does_not_start_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "checker", lambda: Checker([sys.executable, "-c", "raise SystemExit(1)"]))
    of()
    assert checks.check() == 0
    with session_scope() as session:
        assert states(session) == {"pending": 2}


def test_what_needs_something_that_is_away_is_put_off_and_the_others_are_checked() -> None:
    with session_scope() as session:
        checkable(session, "It is away.", "It is 42.")
    assert checks.check() == 1
    with session_scope() as session:
        assert states(session) == {"pending": 1, "done": 1}
        assert standing(session) == [("holds", True, "1 of 1 tests")]
