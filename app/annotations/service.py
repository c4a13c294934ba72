"""The rules of annotating. Nothing here commits; what is refused is refused before anything is written.

An acknowledged annotation is never lost and never doubled, a comparison never gets more annotators than it asked for,
and a lease that runs out loses no text: the assignment stays, released, with its draft.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import rules, seats
from app.annotations.forms import Draft, Submission
from app.annotations.models import (
    Annotation,
    AssignmentState,
    Comparison,
    ComparisonCandidate,
    EditSource,
    Outcome,
    Purpose,
)
from app.annotations.seats import Held, Locked
from app.candidates.models import Candidate
from app.errors import BadInput, Conflict, LeaseLost, NotFound, StaleVersion
from app.prompts.models import Batch, BatchState, Prompt

RESPONSES_SHOWN = 8


def create_comparison(session: Session, prompt: Prompt) -> Comparison | None:
    """The comparison of ``prompt``'s candidates with distinct texts; ``None`` when fewer than two are distinct.

    A prompt whose answers were all the same is sampled again and then has more of them than its batch asks for: no more
    than that are shown. Texts that differ only in surrounding white space look the same on the page and count as one.
    Called again, it returns the comparison that exists.
    """
    rows = session.execute(
        select(Candidate.id, Candidate.text).where(Candidate.prompt_id == prompt.id).order_by(Candidate.id)
    )
    distinct: dict[str, int] = {}
    for candidate_id, text in rows:
        distinct.setdefault(text.strip(), candidate_id)
    asked = session.scalars(select(Batch.candidates_per_prompt).where(Batch.id == prompt.batch_id)).one()
    chosen = list(distinct.values())[: min(asked, RESPONSES_SHOWN)]
    if len(chosen) < 2:
        return None
    wanted = select(Batch.annotators_per_prompt).where(Batch.id == prompt.batch_id).scalar_subquery()
    comparison = session.scalars(
        insert(Comparison)
        .values(
            batch_id=prompt.batch_id,
            prompt_id=prompt.id,
            purpose=Purpose.COLLECT,
            annotators_wanted=wanted,
            seats_free=wanted,
        )
        .on_conflict_do_nothing(index_elements=["prompt_id", "purpose"])
        .returning(Comparison)
    ).one_or_none()
    if comparison is None:
        return session.scalars(
            select(Comparison).where(Comparison.prompt_id == prompt.id, Comparison.purpose == Purpose.COLLECT)
        ).one()
    session.execute(
        insert(ComparisonCandidate), [{"comparison_id": comparison.id, "candidate_id": each} for each in chosen]
    )
    return comparison


def next_assignment(session: Session, user: User, batch_id: int | None = None) -> Held | None:
    """What ``user`` works on next: the item that they hold, one that ran out and is still free, or a fresh one."""
    seats.serialise_claims(session, user.id)
    held = seats.mine(session, user.id, batch_id)
    if held is not None:
        again = (
            seats.renew(session, held.id) if held.state is AssignmentState.ACTIVE else seats.take_back(session, held)
        )
        if again is not None:
            return again
    for batch in seats.open_batches(session, batch_id):
        fresh = seats.claim(session, user.id, batch)
        if fresh is not None:
            return fresh
    return None


def _lock(session: Session, user: User, assignment_id: int) -> Locked:
    locked = seats.lock(session, user.id, assignment_id)
    if locked is None:
        raise NotFound
    return locked


class Recorded(NamedTuple):
    """What the database says of a stored annotation."""

    id: int
    assignment_id: int
    outcome: Outcome
    created_at: datetime
    request_hash: bytes


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


def submit(session: Session, user: User, assignment_id: int, submission: Submission, key: str) -> Recorded:
    """Record ``submission`` once. The same ``key`` with the same judgement gives the same annotation again.

    Raises:
        BadInput: a rule is broken, or the key was used for something else.
        LeaseLost: the lease ran out and somebody else took the seat, or a newer lease replaced this one.
        Conflict: already submitted or skipped, or the batch takes no annotations now.
    """
    locked = _lock(session, user, assignment_id)
    held, digest = locked.assignment, rules.request_hash(assignment_id, submission)
    if held.state is AssignmentState.SUBMITTED:
        return _submitted_before(session, user, key, digest)
    _check_may_submit(locked, submission)
    judgement = rules.judge(submission, len(held.order_shown), locked.edit_policy)
    if submission.edited_text is not None and judgement.edited is not None:
        original = session.connection().execute(_text, {"candidate": held.order_shown[judgement.edited]}).scalar_one()
        rules.check_edit(submission.edited_text, original)
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, done=1)
    elif not seats.take_seat(session, held.comparison_id, done=True):
        raise LeaseLost("Your time ran out and somebody else has finished this item. Your text is kept in the draft.")
    judged = _as_candidates(judgement, held.order_shown)
    said = submission.model_dump(include={"edited_text", "comment", "active_seconds"})
    mark = {"annotator_id": user.id, "idempotency_key": key, "request_hash": digest}
    held_by = {"assignment_id": held.id, "comparison_id": held.comparison_id}
    stored = session.connection().execute(_insert_annotation, judged | said | mark | held_by).one_or_none()
    if stored is None:
        raise BadInput("This Idempotency-Key was used for another submission: send a new key.")
    seats.finish(session, held.id, AssignmentState.SUBMITTED)
    return Recorded(*stored)


def _as_candidates(judgement: rules.Judgement, shown: list[int]) -> dict[str, Any]:
    """The judgement's columns: positions become candidate ids."""
    return {
        "outcome": judgement.outcome,
        "ranking": [[shown[index] for index in group] for group in judgement.ranking],
        "strengths": judgement.strengths,
        "edited_candidate_id": None if judgement.edited is None else shown[judgement.edited],
        "edit_source": None if judgement.edited is None else EditSource.DIRECT,
        "order_shown": shown,
    }


def _submitted_before(session: Session, user: User, key: str, digest: bytes) -> Recorded:
    row = session.connection().execute(_earlier, {"annotator": user.id, "key": key}).one_or_none()
    if row is None:
        raise Conflict("You have submitted this item already; the first submission stands.")
    earlier = Recorded(*row)
    if earlier.request_hash != digest:
        raise BadInput("This Idempotency-Key was used for another submission: the first one stands.")
    return earlier


def _check_may_submit(locked: Locked, submission: Submission) -> None:
    held = locked.assignment
    if held.state is AssignmentState.SKIPPED:
        raise Conflict("You skipped this item; it has gone to others.")
    if locked.batch_state is BatchState.PAUSED:
        raise Conflict("This batch is paused. Your text is kept in the draft: submit it when the batch opens again.")
    if locked.batch_state is not BatchState.OPEN:
        raise Conflict("This batch is closed and takes no more annotations. Your text is kept in the draft.")
    if submission.fencing_token != held.fencing_token:
        raise LeaseLost(
            "This item was opened again in another window after its time ran out: go on there, or reload this page.",
            draft=held.draft,
        )


def save_draft(session: Session, user: User, assignment_id: int, draft: Draft, version: int) -> int:
    """Store ``draft`` over version ``version`` and return the new version; work in progress renews the lease.

    Saving the stored draft again (its answer was lost on the way) is no conflict.

    Raises:
        StaleVersion: another tab saved first; ``extra`` has the stored draft and its version.
        Conflict: the item was submitted or skipped.
    """
    held = _lock(session, user, assignment_id).assignment
    if held.state not in {AssignmentState.ACTIVE, AssignmentState.RELEASED}:
        raise Conflict(f"This item is {held.state} already.")
    value = draft.model_dump(mode="json")
    if held.draft_version != version:
        if held.draft == value:
            return held.draft_version
        raise StaleVersion(
            "Another window saved a newer draft of this item. Both texts are here: choose one.",
            stored=held.draft,
            version=held.draft_version,
        )
    seats.write_draft(session, held.id, value)
    return version + 1


def keep_draft(
    session: Session, user: User, assignment_id: int, draft: Draft, fencing_token: int, version: int | None = None
) -> int | None:
    """Keep what could not be submitted as the draft and return its version, for the next save to build on.

    ``None`` when nothing was kept: the item is finished, a newer lease has a draft of its own, or the stored draft is
    another than ``version``, the one that the page knew.
    """
    held = _lock(session, user, assignment_id).assignment
    open_states = {AssignmentState.ACTIVE, AssignmentState.RELEASED}
    if held.state not in open_states or held.fencing_token != fencing_token:
        return None
    if version is not None and held.draft_version != version:
        return None
    seats.write_draft(session, held.id, draft.model_dump(mode="json"))
    return held.draft_version + 1


def extend_lease(session: Session, user: User, assignment_id: int) -> Held:
    """Renew the lease of an item in work; one that ran out gets its seat back while it is free.

    Raises:
        LeaseLost: the seat was taken.
        Conflict: the item was submitted or skipped.
    """
    held = _lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.ACTIVE:
        return seats.renew(session, held.id)
    if held.state is not AssignmentState.RELEASED:
        raise Conflict(f"This item is {held.state} already.")
    again = seats.take_back(session, held)
    if again is None:
        raise LeaseLost("Your time ran out and somebody else has finished this item. Your text is kept in the draft.")
    return again


def skip(session: Session, user: User, assignment_id: int, reason: str) -> None:
    """Leave an item to others for good, saying why. Skipping twice changes nothing.

    Raises:
        BadInput: no reason.
        Conflict: the item was submitted.
    """
    if not reason.strip():
        raise BadInput("Say why you skip this item.", errors=[{"loc": "reason", "msg": "Say why you skip this item."}])
    held = _lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.SKIPPED:
        return
    if held.state is AssignmentState.SUBMITTED:
        raise Conflict("You have submitted this item already; it can no longer be skipped.")
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, free=1)
    seats.finish(session, held.id, AssignmentState.SKIPPED, reason.strip())


def release(session: Session, user: User, assignment_id: int) -> None:
    """Give the seat back and keep the draft: somebody else may do the item now, or the same person later."""
    held = _lock(session, user, assignment_id).assignment
    if held.state is AssignmentState.ACTIVE:
        seats.change(session, held.comparison_id, free=1)
        seats.finish(session, held.id, AssignmentState.RELEASED)


def release_expired(session: Session) -> int:
    """Release every assignment whose lease ran out and return how many; their drafts stay."""
    return seats.sweep(session)
