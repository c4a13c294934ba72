"""Recording a judgement, once: submit, correct, take back. Nothing here commits.

An annotation is never changed. A correction is a new row that the old one points at; one that its annotator takes back
within seconds is marked as withdrawn, and stays. Later, undoing is correcting: the judgement counts until another one is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Interval, bindparam, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import gold, labelling, verification
from app.annotations.forms import Submission, request_hash
from app.annotations.models import STANDING, Annotation, Revision
from app.candidates.models import Candidate, LiveGeneration
from app.comparisons import seats
from app.comparisons.models import AssignmentState, Comparison
from app.comparisons.purposes import PURPOSES, After, Asked, suits
from app.comparisons.seats import Held, Locked
from app.judgements import rules
from app.judgements.judgement import Draft, Judgement
from app.judgements.vocabulary import EditSource, Outcome
from app.kernel.errors import BadInput, Conflict, LeaseLost, NotFound
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.models import BatchState

UNDO_SECONDS = 10
"""How long a submission is offered to be taken back."""
UNDO_PATIENCE = 5
"""Seconds more that the click may take to arrive."""
RETRACTED = N_("An admin has retracted this submission: it is no longer used and can no longer be corrected.")
CORRECTS = "corrects"
"""In the stored draft of a correction, beside the draft: the annotation that it corrects."""
AFTER_EDIT: list[Callable[[Session, int], None]] = []
"""What rooms above do with an annotation that has an edit, in the transaction that records it."""
TAKEN = N_(
    "Your time ran out and somebody else has finished this item, or nobody is asked any more. Your text is kept as a draft."
)
GONE = N_("Others have taken this item since you skipped it, so it cannot come back to you.")
NOT_YOURS = N_(
    "You have since read what others said of this prompt, or its batch gives you nothing more: the item stays skipped."
)


def over(state: AssignmentState) -> str:
    """Why nothing more can be done with an item that was submitted or skipped."""
    if state is AssignmentState.SKIPPED:
        return _("This item is skipped already.")
    return _("This item is submitted already.")


class Recorded(NamedTuple):
    """What the database says of a stored annotation."""

    id: int
    assignment_id: int
    outcome: Outcome
    created_at: datetime
    request_hash: bytes
    is_explained: bool = False
    """Whether it may have answered an item of a qualification: those have feedback."""


_recorded = (
    Annotation.id,
    Annotation.assignment_id,
    Annotation.outcome,
    Annotation.created_at,
    Annotation.request_hash,
)
_insert_annotation = (
    insert(Annotation).on_conflict_do_nothing(index_elements=["annotator_id", "idempotency_key"]).returning(*_recorded)
)
_earlier = select(*_recorded).where(
    Annotation.annotator_id == bindparam("annotator"), Annotation.idempotency_key == bindparam("key")
)
_text = select(Candidate.text).where(Candidate.id == bindparam("candidate"))
_current = (
    select(Annotation.id, Annotation.retraction_id)
    .where(Annotation.assignment_id == bindparam("assignment"), STANDING)
    .with_for_update()
)
_corrected = Annotation.__table__.alias()
_next_id = select(func.nextval(func.pg_get_serial_sequence("annotations", "id")))
_supersede = (
    update(Annotation)
    .where(Annotation.id == bindparam("old"), STANDING)
    .values(superseded_by_id=bindparam("new"))
    .execution_options(synchronize_session=False)
)


def lock(session: Session, user: User, assignment_id: int) -> Locked:
    """This annotator's assignment, locked until the end of the transaction."""
    locked = seats.lock(session, user.id, assignment_id)
    if locked is None:
        raise NotFound
    return locked


def submit(session: Session, user: User, assignment_id: int, submission: Submission, key: str) -> Recorded:
    """Record ``submission`` once. The same ``key`` with the same judgement gives the same annotation again.

    With ``submission.corrects`` it supersedes that annotation, as long as the batch is not closed.

    Raises:
        BadInput: a rule is broken, or the key was used for something else.
        LeaseLost: the lease ran out and somebody else took the seat, or a newer lease replaced this one.
        Conflict: already submitted or skipped, corrected elsewhere, or the batch takes no annotations now.
    """
    locked = lock(session, user, assignment_id)
    recorded = _submit(session, user, locked, submission, key)
    return recorded._replace(is_explained=_is_of_qualification(locked))


def _is_of_qualification(locked: Locked) -> bool:
    return After.QUALIFY in PURPOSES[locked.purpose].after and locked.qualification_items > 0


def _submit(session: Session, user: User, locked: Locked, submission: Submission, key: str) -> Recorded:
    held = locked.assignment
    digest = request_hash(held.id, submission)
    if held.state is AssignmentState.SUBMITTED:
        earlier = _recorded_before(session, user, key, digest)
        return earlier or _correct(session, user, locked, submission, key, digest)
    _check_may_submit(locked, submission)
    values = _checked(session, locked, submission)
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, done=1)
    elif not seats.take_seat(session, held.comparison_id, done=True):
        raise LeaseLost(_(TAKEN))
    stored = _store(session, user, held, values, key, digest)
    seats.finish(session, held.id, AssignmentState.SUBMITTED)
    if _is_of_qualification(locked):
        gold.after(session, user.id, held.comparison_id)
    _verify(session, locked, submission, stored)
    return stored


def _verify(session: Session, locked: Locked, submission: Submission, stored: Recorded) -> None:
    asked = After.VERIFY_EDIT in PURPOSES[locked.purpose].after and locked.verify_percent
    if asked and submission.edited_text is not None:
        verification.after(session, stored.id, locked.verify_percent)


def _correct(session: Session, user: User, locked: Locked, submission: Submission, key: str, digest: bytes) -> Recorded:
    held = locked.assignment
    if submission.corrects is None:
        raise Conflict(_("You already submitted this item; the first submission counts."))
    current = submission.corrects
    check_corrects(session, locked, current)
    values = _checked(session, locked, submission)
    new = session.connection().execute(_next_id).scalar_one()
    session.connection().execute(_supersede, {"old": current, "new": new})
    verification.take_back(session, current)
    stored = _store(session, user, held, {"id": new, **values}, key, digest)
    _verify(session, locked, submission, stored)
    return stored


def check_corrects(session: Session, locked: Locked, corrects: int) -> None:
    """Refuse to correct what is not the judgement that counts of a submitted item, or is final.

    Raises:
        Conflict: the batch is closed, it was corrected elsewhere, or an admin has retracted it.
    """
    if locked.batch_state is BatchState.CLOSED:
        raise Conflict(_("This batch is closed: your submission is final and can no longer be corrected."))
    current, retraction = session.connection().execute(_current, {"assignment": locked.assignment.id}).one()
    if current != corrects:
        raise Conflict(_("You already corrected this item in another window. Reload to edit that version."))
    if retraction is not None:
        raise Conflict(_(RETRACTED))


def undo(session: Session, user: User, assignment_id: int) -> Held:
    """Take the annotation back that was just submitted, or the skip: the item is in work again, filled in as it was.

    Asked for twice, it gives the item in work.

    Raises:
        Conflict: an item that was skipped is no longer free; the batch was closed; or it is too late to take the annotation
            back. That one can still be corrected: ``extra["corrects"]`` is its id.
    """
    locked = lock(session, user, assignment_id)
    held = locked.assignment
    if held.state is AssignmentState.ACTIVE:
        return held
    if held.state is AssignmentState.SKIPPED:
        return _unskip(session, user, locked)
    if held.state is not AssignmentState.SUBMITTED:
        raise Conflict(_("This item is released: there is nothing to undo."))
    if locked.batch_state is BatchState.CLOSED:
        raise Conflict(_("This batch is closed: your submission is final."))
    patience = cast(bindparam("patience", f"{UNDO_SECONDS + UNDO_PATIENCE} seconds"), Interval)
    taken = session.scalars(
        update(Annotation)
        .where(
            Annotation.assignment_id == held.id,
            STANDING,
            Annotation.retraction_id.is_(None),
            Annotation.created_at > func.now() - patience,
            # what was corrected before cannot stand again
            ~select(_corrected.c.id).where(_corrected.c.superseded_by_id == Annotation.id).exists(),
        )
        .values(withdrawn_at=func.now())
        .returning(Annotation)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if taken is None:
        current, retraction = session.connection().execute(_current, {"assignment": held.id}).one()
        if retraction is not None:
            raise Conflict(_(RETRACTED))
        raise Conflict(_("It is too late to take this back, but you can still correct it."), corrects=current)
    verification.take_back(session, taken.id)
    seats.change(session, held.comparison_id, done=-1)
    seats.write_draft(session, held.id, as_draft(session, taken).model_dump(mode="json"))
    return seats.renew(session, held.id, tokens=1)


def _unskip(session: Session, user: User, locked: Locked) -> Held:
    """Give an item that was skipped back, with the draft that it had, while it has a free seat and may be this person's."""
    held = locked.assignment
    if locked.batch_state is BatchState.CLOSED:
        raise Conflict(_("This batch is closed: what you skipped stays skipped."))
    if locked.batch_state is not BatchState.OPEN:
        raise Conflict(_("This batch is paused: undo the skip when it opens again."))
    annotator = literal(user.id, BigInteger)
    may = select(Comparison.id).where(
        Comparison.id == held.comparison_id, *suits(annotator, Comparison.batch_id, *Asked)
    )
    if session.scalar(may) is None:
        raise Conflict(_(NOT_YOURS))
    again = seats.take_back(session, held)
    if again is None:
        raise Conflict(_(GONE))
    return again


def standing_annotation(session: Session, assignment_id: int) -> Annotation | None:
    """What was submitted for an assignment and stands."""
    return session.scalars(select(Annotation).where(Annotation.assignment_id == assignment_id, STANDING)).one_or_none()


def as_draft(session: Session, annotation: Annotation, shown: Sequence[int] | None = None) -> Draft:
    """An annotation as a draft of the same judgement, by position again: as it was shown, or as ``shown`` has them."""
    columns = {column.key: getattr(annotation, column.key) for column in Annotation.__table__.columns}
    if annotation.outcome is Outcome.LABELLED:
        columns |= labelling.said(session, annotation.id)
    return Judgement.from_ids(annotation.order_shown if shown is None else shown, columns).draft(
        annotation.active_seconds or 0
    )


def _recorded_before(session: Session, user: User, key: str, digest: bytes) -> Recorded | None:
    row = session.connection().execute(_earlier, {"annotator": user.id, "key": key}).one_or_none()
    if row is None:
        return None
    earlier = Recorded(*row)
    if earlier.request_hash != digest:
        raise BadInput(_("This Idempotency-Key was used for another submission: the first one counts."))
    return earlier


def _check_may_submit(locked: Locked, submission: Submission) -> None:
    held = locked.assignment
    if held.state is AssignmentState.SKIPPED:
        raise Conflict(_("You skipped this item; it has gone to other annotators."))
    if locked.batch_state is BatchState.PAUSED:
        raise Conflict(_("This batch is paused. Your text is kept as a draft: submit it when the batch opens again."))
    if locked.batch_state is not BatchState.OPEN:
        raise Conflict(_("This batch is closed and accepts no more annotations. Your text is kept as a draft."))
    if submission.corrects is not None:
        raise Conflict(_("The submission you are correcting was undone. Reload the item and submit again."))
    if submission.fencing_token != held.fencing_token:
        raise LeaseLost(
            _(
                "This item was opened again in another window after its time ran out: continue there, or reload this page."
            ),
            draft=held.draft,
        )


def _checked(session: Session, locked: Locked, submission: Submission) -> dict[str, Any]:
    """The columns of a judgement that keeps every rule."""
    shown = locked.assignment.order_shown
    if PURPOSES[locked.purpose].labels:
        return _checked_steps(session, locked, submission)
    judgement = rules.check(submission, len(shown), locked.edit_policy)
    lengths = _lengths(session, shown) if submission.spans else []
    if shown:
        rules.check_details(submission, len(shown), locked.attributes, lengths)
    columns = judgement.to_ids(shown)
    return {
        **columns,
        "edit_source": _edit_source(session, locked.assignment.id, columns["edited_candidate_id"], submission),
        "active_seconds": submission.active_seconds,
        "order_shown": shown,
        "guidelines_version": locked.guidelines_version,
    }


def _checked_steps(session: Session, locked: Locked, submission: Submission) -> dict[str, Any]:
    """The columns of labels of steps, and what is stored beside them."""
    shown = locked.assignment.order_shown
    said = Judgement.model_validate({name: getattr(submission, name) for name in Judgement.model_fields})
    judgement = labelling.checked(session, shown[0], said, locked.edit_policy)
    return {
        **judgement.to_ids(shown),
        "labelled": judgement,
        "edit_source": None,
        "active_seconds": submission.active_seconds,
        "order_shown": shown,
        "guidelines_version": locked.guidelines_version,
    }


def _edit_source(session: Session, assignment_id: int, edited: int | None, submission: Submission) -> EditSource | None:
    """Where the edited text came from, as far as the stored revisions say; what was written from scratch is its author's."""
    if submission.outcome is Outcome.WRITTEN:
        return EditSource.DIRECT
    if edited is None or submission.edited_text is None:
        return None
    original = session.connection().execute(_text, {"candidate": edited}).scalar_one()
    rules.check_edit(submission.edited_text, original)
    if submission.revision_id is None:
        return EditSource.DIRECT
    revised = session.scalar(
        select(LiveGeneration.text)
        .join(Revision, Revision.generation_id == LiveGeneration.id)
        .where(
            Revision.id == submission.revision_id,
            Revision.assignment_id == assignment_id,
            Revision.candidate_id == edited,
        )
    )
    if revised is None:
        message = _("The edited text refers to a revision of another response: send it without the revision.")
        raise BadInput(message, errors=[{"loc": "revision_id", "msg": message}])
    same = submission.edited_text.replace("\r\n", "\n") == revised.replace("\r\n", "\n")
    return EditSource.REVISION if same else EditSource.ADJUSTED


def _lengths(session: Session, shown: list[int]) -> list[int]:
    rows = session.execute(select(Candidate.id, func.char_length(Candidate.text)).where(Candidate.id.in_(shown)))
    found: dict[int, int] = {candidate: length for candidate, length in rows}  # noqa: C416 - a Row is no pair to mypy
    return [found[candidate] for candidate in shown]


def _store(session: Session, user: User, held: Held, values: dict[str, Any], key: str, digest: bytes) -> Recorded:
    mark = {"annotator_id": user.id, "idempotency_key": key, "request_hash": digest}
    held_by = {"assignment_id": held.id, "comparison_id": held.comparison_id}
    labelled = values.pop("labelled", None)
    stored = session.connection().execute(_insert_annotation, values | mark | held_by).one_or_none()
    if stored is None:
        raise BadInput(_("This Idempotency-Key was used for another submission: send a new key."))
    if labelled is not None:
        labelling.store(session, stored.id, held.order_shown[0], labelled)
    if values["edited_text"] is not None:
        for act in AFTER_EDIT:
            act(session, stored.id)
    return Recorded(*stored)
