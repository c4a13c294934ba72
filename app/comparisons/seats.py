"""Seats and leases, as single statements. ``seats_free`` changes in the transaction that changes the assignment.

Locks are always taken in the same order, assignment before comparison, so that no two of these wait for each other;
the claim of a fresh seat (:mod:`app.comparisons.claims`) skips what is locked and waits for nobody. Leases are judged by
the database's clock only.

Statements are built once, here, and run on the session's connection: next and submit are what an installation does most,
and building a statement costs more than running it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    SQLColumnExpression,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from app.comparisons.models import Assignment, AssignmentState, Comparison, Purpose
from app.judgements.vocabulary import EditPolicy
from app.kernel.settings import get_settings
from app.prompts.models import Batch, BatchKind, BatchState

SWEEP = 0x5357
SWEEP_SIZE = 1000


class Held(NamedTuple):
    """An assignment as it is at this moment of the transaction."""

    id: int
    comparison_id: int
    state: AssignmentState
    lease_until: datetime
    fencing_token: int
    order_shown: list[int]
    draft: dict[str, Any] | None
    draft_version: int


class Locked(NamedTuple):
    """An assignment that nobody else can change now, with what decides whether it may be submitted."""

    assignment: Held
    batch_state: BatchState
    edit_policy: EditPolicy
    attributes: list[dict[str, Any]]
    guidelines_version: int
    purpose: Purpose
    verify_percent: int
    qualification_items: int


_held = (
    Assignment.id,
    Assignment.comparison_id,
    Assignment.state,
    Assignment.lease_until,
    Assignment.fencing_token,
    Assignment.order_shown,
    Assignment.draft,
    Assignment.draft_version,
)
_batch = bindparam("batch", type_=BigInteger)
IN_BATCH = or_(_batch.is_(None), Batch.id == _batch)
"""The batch that a statement is asked about, else any."""
_lease_end = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, bindparam("lease"))


def written_out(value: StrEnum) -> ColumnElement[str]:
    """``value`` as part of the statement, because it never changes.

    As parameters, states and zeros hide the partial indexes and the statistics from the plan that PostgreSQL keeps, and a
    LIMIT is taken for a tenth of all rows: that plan looks dear, and the statement is planned anew each time, at more than
    its own cost.
    """
    return literal_column(f"'{value}'")


ZERO, ONE = literal_column("0", BigInteger), literal_column("1", BigInteger)
has_free_seat = Comparison.seats_free > ZERO
_active = written_out(AssignmentState.ACTIVE)

can_go_on = and_(
    Assignment.state.in_([_active, written_out(AssignmentState.RELEASED)]),  # apart, for the index on the state
    or_(Assignment.state == _active, has_free_seat),
)
"""Whether an assignment holds its seat, or was let go and can have it back."""

_mine = (
    select(*_held)
    .join(Comparison, Comparison.id == Assignment.comparison_id)
    .join(Batch, Batch.id == Comparison.batch_id)
    .where(
        Assignment.annotator_id == bindparam("annotator"),
        can_go_on,
        Batch.state == written_out(BatchState.OPEN),
        Batch.kind == written_out(BatchKind.PROMPTS),  # dialogues are gone on with on pages of their own
        IN_BATCH,
    )
    .order_by(case((Assignment.state == _active, ZERO), else_=ONE), Assignment.id)
    .limit(ONE)
    .with_for_update(of=Assignment)
)
_lock = (
    select(
        *_held,
        Batch.state,
        Batch.edit_policy,
        Batch.attributes,
        Batch.guidelines_version,
        Comparison.purpose,
        Batch.verify_percent,
        Batch.qualification_items,
    )
    .join(Comparison, Comparison.id == Assignment.comparison_id)
    .join(Batch, Batch.id == Comparison.batch_id)
    .where(Assignment.id == bindparam("assignment"), Assignment.annotator_id == bindparam("annotator"))
    .with_for_update(of=Assignment)
)
_assign = (
    insert(Assignment)
    .values(
        comparison_id=bindparam("comparison"),
        annotator_id=bindparam("annotator"),
        order_shown=bindparam("order"),
        lease_until=_lease_end,
    )
    .returning(*_held)
)
_renew = (
    update(Assignment)
    .where(Assignment.id == bindparam("assignment"))
    .values(
        state=AssignmentState.ACTIVE,
        lease_until=_lease_end,
        fencing_token=Assignment.fencing_token + bindparam("tokens"),
        skip_reason=None,  # a skip that is undone takes the seat again
    )
    .returning(*_held)
)
_take_seat = (
    update(Comparison)
    .where(Comparison.id == bindparam("comparison"), Comparison.seats_free > 0)
    .values(seats_free=Comparison.seats_free - 1, annotators_done=Comparison.annotators_done + bindparam("done"))
)
_change = (
    update(Comparison)
    .where(Comparison.id == bindparam("comparison"))
    .values(
        seats_free=Comparison.seats_free + bindparam("free"),
        annotators_done=Comparison.annotators_done + bindparam("done"),
    )
)
_finish = (
    update(Assignment)
    .where(Assignment.id == bindparam("assignment"))
    .values(
        state=bindparam("to"),
        skip_reason=bindparam("reason"),
        skipped_at=case((cast(bindparam("reason"), String).is_not(None), func.now()), else_=Assignment.skipped_at),
    )
)
_write_draft = (
    update(Assignment)
    .where(Assignment.id == bindparam("assignment"))
    .values(
        draft=bindparam("value"),
        draft_version=Assignment.draft_version + 1,
        lease_until=case((Assignment.state == AssignmentState.ACTIVE, _lease_end), else_=Assignment.lease_until),
    )
)


def lease_seconds() -> int:
    """How long a lease lasts."""
    return get_settings().assignment_lease


def mine(session: Session, annotator_id: int, batch_id: int | None) -> Held | None:
    """The assignment to continue, locked: the one that holds a seat, else a released one whose seat is still free."""
    row = session.connection().execute(_mine, {"annotator": annotator_id, "batch": batch_id}).one_or_none()
    return Held._make(row) if row else None


def lock(session: Session, annotator_id: int, assignment_id: int) -> Locked | None:
    """This annotator's assignment, locked until the end of the transaction; ``None`` when there is none."""
    values = {"annotator": annotator_id, "assignment": assignment_id}
    row = session.connection().execute(_lock, values).one_or_none()
    if row is None:
        return None
    columns: tuple[Any, ...] = tuple(row)
    return Locked(Held._make(columns[: len(_held)]), *columns[len(_held) :])


def assign(session: Session, annotator_id: int, comparison_id: int, order: list[int]) -> Held:
    """Give the seat that the caller has taken, with the candidates in ``order`` from left to right."""
    values = {"comparison": comparison_id, "annotator": annotator_id, "order": order, "lease": lease_seconds()}
    return Held._make(session.connection().execute(_assign, values).one())


def take_back(session: Session, held: Held) -> Held | None:
    """Give a released or skipped assignment, locked by the caller, its seat again if one is free: a new lease and token."""
    return renew(session, held.id, tokens=1) if take_seat(session, held.comparison_id) else None


def take_seat(session: Session, comparison_id: int, *, done: bool = False) -> bool:
    """Take a free seat, or say that there is none; with ``done`` the seat counts as annotated at once."""
    taken = session.connection().execute(_take_seat, {"comparison": comparison_id, "done": int(done)})
    return taken.rowcount == 1


def change(session: Session, comparison_id: int, *, free: int = 0, done: int = 0) -> None:
    """Add to the counters; the CHECKs refuse what would be an overshoot."""
    session.connection().execute(_change, {"comparison": comparison_id, "free": free, "done": done})


def renew(session: Session, assignment_id: int, *, tokens: int = 0) -> Held:
    """Restart the lease of a locked assignment."""
    values = {"assignment": assignment_id, "lease": lease_seconds(), "tokens": tokens}
    return Held._make(session.connection().execute(_renew, values).one())


def finish(session: Session, assignment_id: int, state: AssignmentState, reason: str | None = None) -> None:
    """Put a locked assignment into ``state``; ``reason`` belongs to a skip."""
    session.connection().execute(_finish, {"assignment": assignment_id, "to": state, "reason": reason})


def write_draft(session: Session, assignment_id: int, value: dict[str, Any]) -> None:
    """Store a draft under the next version; work in progress renews the lease."""
    values = {"assignment": assignment_id, "value": value, "lease": lease_seconds()}
    session.connection().execute(_write_draft, values)


_sweep = text("""
WITH stale AS MATERIALIZED (
    SELECT id, comparison_id FROM assignments
    WHERE state = 'active' AND lease_until < now()
    ORDER BY lease_until LIMIT :size
    FOR UPDATE SKIP LOCKED
), freed AS (
    UPDATE assignments SET state = 'released' FROM stale WHERE assignments.id = stale.id
    RETURNING assignments.comparison_id
), counted AS (
    UPDATE comparisons SET seats_free = seats_free + freed.seats
    FROM (SELECT comparison_id, count(*)::integer AS seats FROM freed GROUP BY comparison_id) AS freed
    WHERE comparisons.id = freed.comparison_id
)
SELECT count(*) FROM freed
""")


def sweep(session: Session) -> int:
    """Release what ran out. One sweep at a time: two would update the same comparisons in different order."""
    if not session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP, 0))):
        return 0
    return int(session.scalar(_sweep, {"size": SWEEP_SIZE}) or 0)


def begun(
    batch_id: SQLColumnExpression[int], annotator: SQLColumnExpression[int], purpose: Purpose | None = None
) -> ScalarSelect[int]:
    """How many items of a batch ``annotator`` has started and can continue. Both may be columns of the statement around it."""
    query = (
        select(func.count())
        .select_from(Assignment)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .where(Assignment.annotator_id == annotator, Comparison.batch_id == batch_id, can_go_on)
    )
    if purpose is not None:
        query = query.where(Comparison.purpose == written_out(purpose))
    return query.correlate_except(Assignment, Comparison).scalar_subquery()
