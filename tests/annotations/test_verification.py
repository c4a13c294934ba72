"""Edits that somebody else compares with their original, blind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording, service, verification
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.comparisons import service as comparing
from app.comparisons.models import Assignment, Comparison, ComparisonCandidate, Purpose
from app.judgements.positions import position
from app.preferences import queries as preferences
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch, Prompt
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def batch(session: Session) -> Batch:
    """A batch that has every edit verified."""
    batch = make_batch(session)
    batch.verify_percent = 100
    session.commit()
    return batch


def verification_of(session: Session, annotation: Annotation) -> Comparison | None:
    query = select(Comparison).where(Comparison.verifies_id == annotation.id)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def edit(session: Session, user: User, batch: Batch, edited: str | None = "A better answer.") -> Annotation:
    return make_annotation(session, user, make_comparison(session, batch=batch), edited_text=edited)


def test_an_edit_is_compared_with_its_original(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch, "A better\r\nanswer.")
    made = verification_of(session, said)
    assert made is not None
    assert (made.purpose, made.annotators_wanted, made.seats_free) == (Purpose.VERIFY_EDIT, 1, 1)
    assert service.next_assignment(session, alice, batch.id) is None, "nobody verifies an edit of their own"
    held = service.next_assignment(session, make_user(session, name="Rita"), batch.id)
    assert held is not None
    assert held.comparison_id == made.id
    shown = session.scalars(select(Candidate).where(Candidate.id.in_(held.order_shown)).order_by(Candidate.id)).all()
    original, edited = shown
    assert (original.id, edited.edited_from_id) == (said.edited_candidate_id, said.edited_candidate_id)
    assert (edited.text, edited.finish_reason) == ("A better\nanswer.", "edited")
    assert (edited.checkpoint_id, edited.sampling) == (original.checkpoint_id, original.sampling)


def test_those_who_judged_the_prompt_may_verify(session: Session, alice: User) -> None:
    comparison = make_comparison(session, wanted=2)
    session.get_one(Batch, comparison.batch_id).verify_percent = 100
    rita = make_user(session, name="Rita")
    make_annotation(session, rita, comparison)
    said = make_annotation(session, alice, comparison, edited_text="A better answer.")
    held = service.next_assignment(session, rita, comparison.batch_id)
    assert held is not None
    made = verification_of(session, said)
    assert made is not None
    assert held.comparison_id == made.id


def test_nothing_is_verified_where_nothing_was_edited_or_asked(session: Session, alice: User, batch: Batch) -> None:
    assert verification_of(session, edit(session, alice, batch, None)) is None
    assert verification_of(session, edit(session, alice, make_batch(session))) is None


def test_the_edit_of_a_verification_is_not_verified_again(session: Session, alice: User, batch: Batch) -> None:
    made = verification_of(session, edit(session, alice, batch))
    again = make_annotation(session, make_user(session), made, edited_text="An even better answer.")
    assert again.comparison_id == (made.id if made else None)
    assert verification_of(session, again) is None


def test_two_edits_of_one_prompt_are_two_verifications(session: Session, alice: User) -> None:
    comparison = make_comparison(session, wanted=2)
    session.get_one(Batch, comparison.batch_id).verify_percent = 100
    first = make_annotation(session, alice, comparison, edited_text="A better answer.")
    held = service.next_assignment(session, make_user(session), comparison.batch_id)
    assert held is not None
    rita = session.get_one(User, session.get_one(Assignment, held.id).annotator_id)
    second = make_annotation(session, rita, comparison, edited_text="Another.")
    assert verification_of(session, first) is not None
    assert verification_of(session, second) is not None


def test_a_collected_comparison_never_shows_an_edit(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch)
    edited = session.scalars(select(Candidate.id).where(Candidate.edited_from_id.isnot(None))).one()
    prompt = session.get_one(Prompt, session.get_one(Candidate, edited).prompt_id)
    session.execute(delete(ComparisonCandidate))
    session.execute(delete(Comparison).where(Comparison.verifies_id == said.id))
    session.execute(update(Comparison).values(prompt_id=make_prompt(session, batch).id))  # as if it had none yet
    made = comparing.create_comparison(session, prompt)
    assert made is not None
    shown = session.scalars(
        select(ComparisonCandidate.candidate_id).where(ComparisonCandidate.comparison_id == made.id)
    )
    assert edited not in shown.all()


def test_taken_back_nobody_needs_to_verify_it(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch)
    recording.undo(session, alice, said.assignment_id)
    made = verification_of(session, said)
    assert made is not None
    assert made.seats_free == 0
    assert service.next_assignment(session, make_user(session), batch.id) is None


def test_corrected_the_new_edit_is_verified_instead(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch)
    again = correct(session, alice, said, "The best answer.")
    old, new = verification_of(session, said), verification_of(session, again)
    assert old is not None
    assert new is not None
    assert (old.seats_free, new.seats_free) == (0, 1)


def test_begun_it_is_finished(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch)
    rita = make_user(session, name="Rita")
    held = service.next_assignment(session, rita, batch.id)
    assert held is not None
    correct(session, alice, said, "The best answer.")
    make_annotation(session, rita, verification_of(session, said))
    made = verification_of(session, said)
    assert made is not None
    assert made.annotators_done == 1


def test_a_verification_is_no_preference(session: Session, alice: User, batch: Batch) -> None:
    said = edit(session, alice, batch)
    verified = make_annotation(session, make_user(session), verification_of(session, said))
    exported = {each.annotation_id for each in preferences.sources(session, ExportFilter(), 10)}
    assert said.id in exported
    assert verified.id not in exported


@given(st.integers(1, 2**62), st.integers(0, 100))
def test_a_draw_is_the_same_again_and_a_higher_rate_draws_no_less(annotation_id: int, percent: int) -> None:
    drawn = verification.is_drawn(annotation_id, percent)
    assert drawn == verification.is_drawn(annotation_id, percent)
    assert not verification.is_drawn(annotation_id, 0)
    assert verification.is_drawn(annotation_id, 100)
    assert not drawn or verification.is_drawn(annotation_id, min(100, percent + 1))


def test_the_rate_is_about_what_was_asked_for() -> None:
    assert 150 < sum(verification.is_drawn(each, 20) for each in range(1000)) < 250


def correct(session: Session, user: User, said: Annotation, edited: str) -> Annotation:
    names = {candidate: position(at) for at, candidate in enumerate(said.order_shown)}
    submission = Submission(
        fencing_token=1,
        outcome=said.outcome,
        ranking=[[names[each] for each in group] for group in said.ranking],
        strengths=said.strengths,
        edited_text=edited,
        corrects=said.id,
    )
    recorded = recording.submit(session, user, said.assignment_id, submission, key=f"again-{said.id}")
    session.commit()
    return session.get_one(Annotation, recorded.id)
