"""`corral audit` knows what a retraction promised, and `corral retract` does what the pages do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from app.accounts.models import AuditEvent, User
from app.annotations.models import Retraction, RetractionScope
from app.commands import cli
from app.kernel.db import get_engine
from app.lineage import service
from app.upkeep.audit import audit
from tests.lineage.conftest import Gone, make_snapshot

REASON = "The guidelines had changed."


def spoil(session: Session, statement: str, **values: object) -> None:
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(text(statement), values)
    session.execute(text("SET LOCAL session_replication_role = origin"))
    session.commit()


def said(session: Session, row: str) -> list[str]:
    return [problem.what for problem in audit(session, files=False) if problem.row == row]


@pytest.fixture
def made(session: Session, gone: Gone, bob: User) -> Retraction:
    found = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    session.commit()
    return found


# ── corral audit ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_retraction_made_and_one_restored_are_well(session: Session, gone: Gone, made: Retraction, bob: User) -> None:
    about = ("retraction", "snapshot", "annotation")
    assert [each for each in audit(session, files=False) if each.row.startswith(about)] == []
    service.restore(session, bob, made)
    session.commit()
    assert [each for each in audit(session, files=False) if each.row.startswith(about)] == []


def test_an_annotation_that_came_back_by_itself(session: Session, gone: Gone, made: Retraction) -> None:
    spoil(session, "UPDATE annotations SET retraction_id = NULL WHERE id = :id", id=gone.of_alice[0].id)
    assert said(session, f"retraction {made.id}") == ["took out 2 annotations, and 1 point at it"]


def test_one_that_a_restored_retraction_still_holds(session: Session, gone: Gone, made: Retraction) -> None:
    spoil(session, "UPDATE retractions SET restored_at = now() WHERE id = :id", id=made.id)
    assert said(session, f"retraction {made.id}") == ["took out 2 annotations, and 2 point at it"]


def test_a_snapshot_that_holds_what_was_retracted_before(session: Session, gone: Gone, made: Retraction) -> None:
    late = make_snapshot(session, *gone.of_alice, *gone.of_charlie)
    spoil(session, "UPDATE snapshots SET created_at = now() + interval '1 hour' WHERE id = :id", id=late.id)
    assert said(session, f"snapshot {late.id}") == ["was asked for after 2 of its annotations had been retracted"]
    assert said(session, f"snapshot {gone.hers.id}") == []


def test_a_snapshot_that_still_holds_an_erased_person(session: Session, gone: Gone, made: Retraction) -> None:
    spoil(
        session,
        "UPDATE retractions SET erased = true, created_at = now() - interval '1 hour' WHERE id = :id",
        id=made.id,
    )
    assert "holds 2 annotations of an erased person, and can still be read" in said(session, f"snapshot {gone.hers.id}")


# ── corral retract ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def corral(session: Session, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(type(get_engine()), "dispose", lambda *_: None)
    return lambda *arguments, typed="": CliRunner().invoke(cli.app, ["retract", *arguments], input=typed)


def test_a_dry_run_counts_and_changes_nothing(session: Session, gone: Gone, corral: Callable[..., Result]) -> None:
    answer = corral("person", gone.alice.email, "--dry-run")
    assert answer.exit_code == 0, answer.output
    lines = {line[:19].strip(): line[19:].strip() for line in answer.stdout.splitlines() if line.startswith("  ")}
    assert lines == {
        "annotations": "2",
        "earlier versions": "0",
        "snapshots": gone.hers.name,
        "runs": f"{gone.runs['reward'].id}, {gone.runs['policy'].id}",
        "tainted": "reward-r1, policy-r1",
        "touched": "sft-r1",
        "contests": str(gone.contest.id),
    }
    assert session.scalar(select(Retraction.id)) is None


@pytest.mark.parametrize("scope", ["annotation", "person", "batch"])
def test_what_is_retracted_at_the_command_line_is_listed_and_restored(
    session: Session, gone: Gone, corral: Callable[..., Result], scope: str
) -> None:
    target = {"annotation": str(gone.of_alice[0].id), "person": gone.alice.email, "batch": "Letters"}[scope]
    assert corral(scope, target, "--reason", REASON).exit_code == 0
    made = session.scalars(select(Retraction)).one()
    assert (made.scope, made.reason, made.created_by_id) == (scope, REASON, None)
    assert REASON in corral("list").stdout
    assert f"{made.annotations:,} annotations count again" in corral("restore", str(made.id)).stdout
    assert "restored" in corral("list").stdout
    events = session.scalars(select(AuditEvent).where(AuditEvent.action.like("retraction.%"))).all()
    assert {event.address for event in events} == {"command line"}


def test_what_cannot_be_retracted_is_said(gone: Gone, corral: Callable[..., Result]) -> None:
    for arguments, words in (
        (("person", "nobody@example.org", "--reason", REASON), "no account"),
        (("annotation", "12345678", "--reason", REASON), "There is no annotation 12345678"),
        (("person", gone.alice.email), "Give a reason"),
        (("restore", "12345678"), "There is no retraction 12345678"),
    ):
        assert words in str(corral(*arguments).exception)


def test_erasing_asks_first(session: Session, gone: Gone, corral: Callable[..., Result]) -> None:
    assert corral("person", gone.alice.email, "--reason", REASON, "--erase", typed="n\n").exit_code == 1
    assert session.scalar(select(Retraction.id)) is None
    assert corral("person", gone.alice.email, "--reason", REASON, "--erase", typed="y\n").exit_code == 0
    assert session.scalars(select(Retraction)).one().erased
