"""Erasing a person blanks what they wrote, wherever it was put, and the files that hold it go."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Role, User
from app.annotations.models import Annotation, Decision, RetractionScope, Review, Revision
from app.candidates.models import LiveGeneration, LiveKind, LiveState
from app.comparisons.models import Assignment, Comparison, Purpose
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.lineage import erasing, service
from app.preferences.files import folder
from app.preferences.models import Snapshot, SnapshotState
from app.rounds.models import RunKind
from app.upkeep.audit import audit
from tests.factories import (
    current_round,
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_deployment,
    make_user,
)
from tests.lineage.conftest import Gone, make_run
from tests.talking import begin_dialogue, judge_turn, make_trial, say, write_replies

SECRET = "my grandmother lives in Lisbon"
REASON = "She asked for it."


def everything_said(session: Session) -> str:
    """All texts of all tables, as one."""
    tables = session.scalars(
        text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'audit_events'")
    )
    return "".join(
        session.scalar(text(f"SELECT coalesce(string_agg(t::text, ''), '') FROM {table} t")) or ""
        for table in tables.all()
    )


@pytest.fixture
def wordy(session: Session) -> User:
    """Dora, who said the same in every place where one can say something."""
    dora = make_user(session, Role.REVIEWER, "Dora")
    batch = make_batch(session)
    batch.verify_percent = 100
    session.commit()
    make_annotation(session, dora, make_comparison(session, batch=batch), edited_text=SECRET, comment=SECRET)
    begun = make_assignment(session, dora)
    make_trial(session, dora, SECRET, SECRET, SECRET)
    begun.draft = {"comment": SECRET}
    generation = LiveGeneration(
        user_id=dora.id,
        prompt_id=session.get_one(Comparison, begun.comparison_id).prompt_id,
        kind=LiveKind.REVISION,
        request_key="k",
        deployment_id=make_deployment(session).id,
        messages=[{"role": "user", "content": SECRET}],
        max_tokens=9,
        state=LiveState.DONE,
        text=f"As you say, {SECRET}",
    )
    session.add(generation)
    session.flush()
    revision = Revision(
        assignment_id=begun.id,
        candidate_id=begun.order_shown[0],
        feedback=SECRET,
        source_text=SECRET,
        generation_id=generation.id,
    )
    other = make_annotation(session, make_user(session, name="Alice"))
    review = Review(annotation_id=other.id, reviewer_id=dora.id, verdict=Decision.RETURNED, note=SECRET)
    session.add_all([revision, review])
    dialogue = begin_dialogue(session, dora)
    turn = say(session, dora, dialogue, SECRET)
    write_replies(session, turn, f"So {SECRET}.", "I see.")
    judge_turn(session, dora, turn)
    dialogue.note = SECRET
    session.commit()
    return dora


def test_nothing_that_dora_wrote_is_left_in_any_table(session: Session, wordy: User, bob: User) -> None:
    email, name = wordy.email, wordy.name
    assert everything_said(session).count(SECRET) > 8
    service.retract(session, bob, RetractionScope.PERSON, wordy.id, REASON, erase=True)
    session.commit()
    left = everything_said(session)
    assert SECRET not in left
    assert email not in left
    assert name not in left
    session.refresh(wordy)
    assert wordy.disabled_at is not None
    waiting = select(func.count()).where(Comparison.purpose == Purpose.VERIFY_EDIT, Comparison.seats_free > 0)
    assert session.scalar(waiting) == 0, "nobody is asked to verify a blank edit"


def test_every_promise_holds_after_erasing(session: Session, wordy: User, bob: User) -> None:
    before = audit(session, files=False)
    service.retract(session, bob, RetractionScope.PERSON, wordy.id, REASON, erase=True)
    session.commit()
    assert [each for each in audit(session, files=False) if each not in before] == []


def test_an_erased_person_cannot_be_restored(session: Session, wordy: User, bob: User) -> None:
    made = service.retract(session, bob, RetractionScope.PERSON, wordy.id, REASON, erase=True)
    with pytest.raises(Conflict, match="erased"):
        service.restore(session, bob, made)


def test_somebody_who_was_retracted_before_can_still_be_erased(session: Session, gone: Gone, bob: User) -> None:
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    made = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON, erase=True)
    assert made.annotations == 0
    actions = session.scalars(select(AuditEvent.action).where(AuditEvent.subject_id == gone.alice.id)).all()
    assert "person.erase" in actions


def test_the_files_that_hold_an_erased_person_go_and_others_stay(session: Session, gone: Gone, bob: User) -> None:
    run = get_settings().runs_dir / f"run-{gone.runs['policy'].id}"
    for path in (folder(gone.hers), folder(gone.his), run):
        path.mkdir(parents=True)
        (path / "preferences.jsonl").write_text(SECRET)
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON, erase=True)
    session.commit()
    erasing.remove_files(session)
    erasing.remove_files(session)
    assert [path.exists() for path in (folder(gone.hers), folder(gone.his), run)] == [False, True, False]
    session.refresh(gone.hers)
    assert gone.hers.state is SnapshotState.ERASED
    assert gone.hers.sha256, "the hash stays: checkpoints name it"


def test_a_snapshot_that_was_being_built_meanwhile_goes_too(session: Session, gone: Gone, bob: User) -> None:
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON, erase=True)
    session.get_one(Snapshot, gone.hers.id).state = SnapshotState.READY
    session.commit()
    erasing.remove_files(session)
    session.refresh(gone.hers)
    assert gone.hers.state is SnapshotState.ERASED


def test_erasing_waits_for_a_training_that_reads_the_files(session: Session, gone: Gone, bob: User) -> None:
    make_run(session, current_round(session), gone.hers, RunKind.DPO, None)
    with pytest.raises(Conflict, match="is reading a snapshot"):
        service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON, erase=True)


def test_bob_cannot_erase_himself(session: Session, bob: User) -> None:
    with pytest.raises(Conflict):
        service.retract(session, bob, RetractionScope.PERSON, bob.id, REASON, erase=True)


def test_closing_an_account_changes_nothing_that_was_judged(session: Session, gone: Gone, bob: User) -> None:
    held = make_assignment(session, gone.alice)
    rows = text("SELECT string_agg(a::text, '' ORDER BY id) FROM annotations a")
    before = session.scalar(rows)
    accounts.disable(session, bob, gone.alice)
    session.commit()
    assert session.scalar(rows) == before
    assert session.get_one(Assignment, held.id, populate_existing=True).annotator_id == gone.alice.id
    assert (
        session.scalar(select(func.count()).select_from(Annotation).where(Annotation.retraction_id.is_not(None))) == 0
    )
