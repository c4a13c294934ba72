"""A retraction takes out exactly what it names, can be restored, and nothing of it is lost."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import COUNTS, Annotation, RetractionScope
from app.comparisons import service as comparing
from app.comparisons.models import Assignment
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, Conflict, NotFound
from app.lineage import marks, service
from app.lineage.marks import Mark
from app.preferences import export
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.prompts.models import PromptState
from app.rounds.models import RunKind
from tests.factories import (
    current_round,
    make_annotation,
    make_batch,
    make_candidate,
    make_checkpoint,
    make_comparison,
    make_deployment,
    make_prompt,
    make_user,
)
from tests.lineage.conftest import Gone, make_run, make_snapshot

REASON = "Alice judged with the sides swapped."


def counted(session: Session) -> set[int]:
    return set(session.scalars(select(Annotation.id).where(COUNTS)))


def exported(session: Session) -> bytes:
    return b"".join(export.stream(session, Shape.CANONICAL, Format.JSONL, ExportFilter(), export.Progress()))


def correct(session: Session, user: User, annotation: Annotation) -> int:
    held = session.get_one(Assignment, annotation.assignment_id)
    wish: dict[str, Any] = {"fencing_token": held.fencing_token, "outcome": Outcome.TIE, "corrects": annotation.id}
    return recording.submit(session, user, held.id, Submission(**wish), key=secrets.token_hex(8)).id


@pytest.mark.parametrize("scope", list(RetractionScope))
def test_a_retraction_takes_out_what_it_names_and_restoring_brings_it_back(
    session: Session, gone: Gone, bob: User, scope: RetractionScope
) -> None:
    before = counted(session)
    session.refresh(gone.of_alice[0], ["comparison"])
    batch_id = gone.of_alice[0].comparison.batch_id
    target, expected = {
        RetractionScope.ANNOTATION: (gone.of_alice[0].id, {gone.of_alice[0].id}),
        RetractionScope.PERSON: (gone.alice.id, {each.id for each in gone.of_alice}),
        RetractionScope.BATCH: (batch_id, before),
    }[scope]
    made = service.retract(session, bob, scope, target, f"  {REASON} ")
    assert before - counted(session) == expected
    assert (made.annotations, made.reason, made.created_by_id) == (len(expected), REASON, bob.id)
    assert service.restore(session, bob, made) == len(expected)
    assert counted(session) == before
    events = session.scalars(select(AuditEvent).where(AuditEvent.action.like("retraction.%")).order_by(AuditEvent.id))
    assert [(event.action, event.subject_type, event.subject_id) for event in events] == [
        ("retraction.make", scope.value, target),
        ("retraction.restore", scope.value, target),
    ]


def test_what_a_correction_replaced_is_retracted_with_it(session: Session, gone: Gone, bob: User) -> None:
    first = gone.of_alice[0]
    second = correct(session, gone.alice, first)
    session.commit()
    made = service.retract(session, bob, RetractionScope.ANNOTATION, second, REASON)
    assert made.annotations == 2
    assert session.get_one(Annotation, first.id, populate_existing=True).retraction_id == made.id


def test_a_retracted_submission_is_not_corrected_nor_asked_for_again(session: Session, gone: Gone, bob: User) -> None:
    service.retract(session, bob, RetractionScope.ANNOTATION, gone.of_alice[0].id, REASON)
    with pytest.raises(Conflict, match="retracted"):
        correct(session, gone.alice, gone.of_alice[0])


@pytest.mark.parametrize(
    ("reason", "words"), [("  ", "Give a reason"), ("x" * 2001, "2,000"), ("a\0b", "cannot contain")]
)
def test_a_retraction_without_a_reason_that_can_be_kept_is_refused(
    session: Session, gone: Gone, bob: User, reason: str, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, reason)


def test_what_is_not_there_and_what_is_retracted_already_are_refused(session: Session, gone: Gone, bob: User) -> None:
    for scope in RetractionScope:
        with pytest.raises(NotFound):
            service.retract(session, bob, scope, 2**40, REASON)
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    session.commit()
    with pytest.raises(Conflict, match="nothing to retract"):
        service.retract(session, bob, RetractionScope.ANNOTATION, gone.of_alice[0].id, REASON)
    session.rollback()
    with pytest.raises(BadInput, match="Only a person"):
        service.retract(session, bob, RetractionScope.BATCH, gone.of_alice[0].id, REASON, erase=True)


def test_a_retraction_is_restored_once(session: Session, gone: Gone, bob: User) -> None:
    made = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    service.restore(session, bob, made)
    with pytest.raises(Conflict, match="already been restored"):
        service.restore(session, bob, made)


def test_restoring_leaves_out_what_a_later_retraction_is_about_too(session: Session, gone: Gone, bob: User) -> None:
    one = service.retract(session, bob, RetractionScope.ANNOTATION, gone.of_alice[0].id, REASON)
    all_of_her = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, "She left.")
    assert (one.annotations, all_of_her.annotations) == (1, 1)
    assert service.restore(session, bob, one) == 0
    session.refresh(all_of_her)
    assert all_of_her.annotations == 2
    assert not counted(session) & {each.id for each in gone.of_alice}
    assert service.restore(session, bob, all_of_her) == 2


def test_annotations_stay_append_only_but_for_a_retraction(session: Session, gone: Gone, bob: User) -> None:
    made = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    session.commit()
    refused = (
        "UPDATE annotations SET comment = 'another', retraction_id = NULL WHERE id = :id",
        "UPDATE annotations SET comment = '' , strengths = '{4}' WHERE id = :id",
        "UPDATE annotations SET ranking = ranking, strengths = '{1}' WHERE id = :id",
        "DELETE FROM annotations WHERE id = :id",
        "UPDATE candidates SET text = ''",
    )
    session.execute(text("SELECT set_config('corral.erasing', 'another transaction', true)"))
    for statement in refused:
        with pytest.raises(IntegrityError, match="append-only"), session.begin_nested():
            session.execute(text(statement), {"id": gone.of_alice[0].id} if ":id" in statement else {})
    assert made.annotations == 2


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_models_trained_on_it_are_tainted_and_those_that_met_them_touched(
    session: Session, gone: Gone, bob: User
) -> None:
    assert marks.marks(session) == {}
    made = service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    assert marks.marks(session) == {
        gone.reward.id: Mark.TAINTED,
        gone.policy.id: Mark.TAINTED,
        gone.imitates.id: Mark.TOUCHED,
    }
    service.restore(session, bob, made)
    assert marks.marks(session) == {}


def test_weights_carry_the_mark_on_and_data_pass_it_once(session: Session, gone: Gone, bob: User) -> None:
    now = current_round(session)
    mean, grown, sampled = (make_checkpoint(session, name) for name in ("mean", "grown", "sampled"))
    grown.parent_id = mean.id
    make_run(session, now, gone.his, RunKind.DPO, mean, averaged=gone.policy)
    make_run(session, now, gone.his, RunKind.SFT, sampled, sampled=mean)
    measured, second = make_checkpoint(session, "measured"), make_checkpoint(session, "second")
    make_run(session, now, gone.his, RunKind.DPO, measured, against=gone.policy)
    make_run(session, now, gone.his, RunKind.SFT, second, sampled=sampled)
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    found = marks.marks(session)
    assert (found[mean.id], found[grown.id], found[sampled.id]) == (Mark.TAINTED, Mark.TAINTED, Mark.TOUCHED)
    assert not {measured.id, second.id, gone.clean.id} & set(found), (
        "measuring passes nothing on, and touched is not handed on"
    )


def test_judging_answers_of_a_tainted_model_touches(session: Session, gone: Gone, bob: User) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch, state=PromptState.READY)
    for index in range(2):
        make_candidate(
            session, prompt, f"Answer {index}", deployment=make_deployment(session, "policy-r1"), sample_index=index
        )
    comparison = comparing.create_comparison(session, prompt)
    assert comparison is not None
    session.commit()
    judged = make_annotation(session, gone.charlie, comparison)
    learnt = make_checkpoint(session, "learnt-from-it")
    make_run(session, current_round(session), make_snapshot(session, judged), RunKind.DPO, learnt)
    service.retract(session, bob, RetractionScope.PERSON, gone.alice.id, REASON)
    assert marks.marks(session)[learnt.id] is Mark.TOUCHED


# ── Exactness ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_after_retracting_fifty_an_export_is_that_of_a_database_in_which_they_never_were(
    session: Session, bob: User
) -> None:
    """Equal bytes, and with them equal losses: a training reads nothing else, starts from the base and takes its seed."""
    batch = make_batch(session, annotators_per_prompt=2)
    people = [make_user(session, name=name) for name in ("Alice", "Charlie")]
    made = []
    for number in range(30):
        comparison = make_comparison(session, 2, 2, batch=batch)
        for person in people:
            edited = f"Better {number}" if number % 3 == 0 else None
            made.append(make_annotation(session, person, comparison, edited_text=edited, strengths=[1 + number % 4]).id)
    gone = made[:50]
    whole = exported(session)
    session.commit()
    with session.begin_nested() as copy:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("DELETE FROM comparisons WHERE verifies_id = ANY(:ids)"), {"ids": gone})
        session.execute(text("DELETE FROM annotations WHERE id = ANY(:ids)"), {"ids": gone})
        never = exported(session)
        copy.rollback()
    session.execute(text("SET LOCAL session_replication_role = origin"))
    assert exported(session) == whole
    for annotation_id in gone:
        service.retract(session, bob, RetractionScope.ANNOTATION, annotation_id, REASON)
    left = exported(session)
    assert hashlib.sha256(left).hexdigest() == hashlib.sha256(never).hexdigest()
    assert len(left.splitlines()) < len(whole.splitlines())
