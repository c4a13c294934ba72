"""Asking a named person for one more judgement of an item, and taking that back while they have not begun. Nothing here commits.

They get a seat that is free or, where there is none, one more, and it is held for them from the start: by a lease that is
``HELD`` longer than those of people who work. So it needs no table, comes to them before anything else, and is let go like
every seat whose lease ends. Once they open it, the lease is that of any item in work.

What somebody else changes at this moment is left out rather than waited for, so these wait for nobody and nobody for them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from random import SystemRandom
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Interval, and_, bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from app.comparisons.models import Assignment, AssignmentState, Comparison, ComparisonCandidate
from app.comparisons.seats import ZERO, lease_seconds, written_out
from app.comparisons.service import asked_of_a_second
from app.prompts.models import Batch

HELD = timedelta(days=7)
MOST = 20
"""People who are asked about an item at most, as the CHECK on it says."""

_order = bindparam("order", type_=ARRAY(BigInteger))
_until = func.now() + bindparam("held", type_=Interval())
_give = insert(Assignment).values(
    comparison_id=bindparam("comparison"), annotator_id=bindparam("annotator"), order_shown=_order, lease_until=_until
)
# whoever let an item go has it again as they saw it, under a token of its own
_give_again = _give.on_conflict_do_update(
    index_elements=["comparison_id", "annotator_id"],
    set_={
        "state": AssignmentState.ACTIVE,
        "lease_until": _give.excluded.lease_until,
        "fencing_token": Assignment.fencing_token + 1,
    },
    where=Assignment.state == AssignmentState.RELEASED,
)


def waits() -> ColumnElement[bool]:
    """Whether an assignment is an item that its person was asked about and has not opened."""
    lease = timedelta(seconds=lease_seconds())
    return and_(Assignment.state == written_out(AssignmentState.ACTIVE), Assignment.lease_until > func.now() + lease)


def lock(session: Session, comparison_ids: Collection[int], people: Collection[int]) -> tuple[set[int], set[int]]:
    """Lock these items, and what ``people`` have let go of them: the ids of items and of assignments that are locked now."""
    # assignments first, as everybody does
    let_go = (
        select(Assignment.id)
        .where(
            Assignment.comparison_id.in_(comparison_ids),
            Assignment.annotator_id.in_(people),
            Assignment.state == AssignmentState.RELEASED,
        )
        .order_by(Assignment.id)
        .with_for_update(skip_locked=True)
    )
    held = set(session.scalars(let_go))
    return _lock_items(session, comparison_ids), held


def give(session: Session, asked: Mapping[int, int]) -> None:
    """Ask for one more judgement of each item that is locked by the caller, of the person beside it: item to person.

    They have not met it, or have let it go.
    """
    if not asked:
        return
    shown = (
        select(ComparisonCandidate.comparison_id, func.array_agg(ComparisonCandidate.candidate_id))
        .where(ComparisonCandidate.comparison_id.in_(asked))
        .group_by(ComparisonCandidate.comparison_id)
    )
    draw, rows = SystemRandom(), []
    held = timedelta(seconds=lease_seconds()) + HELD
    for comparison_id, candidates in session.execute(shown):
        order = sorted(candidates)
        draw.shuffle(order)
        rows.append({"comparison": comparison_id, "annotator": asked[comparison_id], "order": order, "held": held})
    session.connection().execute(_give_again, rows)
    free = Comparison.seats_free > ZERO
    session.execute(
        update(Comparison)
        .where(Comparison.id.in_(asked))
        .values(
            annotators_wanted=Comparison.annotators_wanted + case((free, 0), else_=1),
            seats_free=Comparison.seats_free - case((free, 1), else_=0),
        )
        .execution_options(synchronize_session=False)
    )


def take_back(session: Session, comparison_ids: Collection[int]) -> tuple[set[int], set[int]]:
    """Ask nobody any more who was asked about these items by name and has not opened them.

    An item still wants as many as its batch does. Returns the items of which that is so, and those that somebody else changes at
    this moment.
    """
    waiting = (
        select(Assignment.id, Assignment.comparison_id)
        .where(Assignment.comparison_id.in_(comparison_ids), waits())
        .order_by(Assignment.id)
        .with_for_update(skip_locked=True)
    )
    found: dict[int, list[int]] = {}
    for key, comparison_id in session.execute(waiting):
        found.setdefault(comparison_id, []).append(key)
    locked = _lock_items(session, found)
    by_change: dict[tuple[int, int], list[int]] = {}
    for comparison_id, asked in _asked_by_batch(session, locked).items():
        by_change.setdefault((len(found[comparison_id]), asked), []).append(comparison_id)
    for (count, asked), items in by_change.items():
        session.execute(
            update(Assignment)
            .where(Assignment.id.in_([key for each in items for key in found[each]]))
            .values(state=AssignmentState.RELEASED)
            .execution_options(synchronize_session=False)
        )
        after = func.greatest(Comparison.annotators_wanted - count, asked)
        session.execute(
            update(Comparison)
            .where(Comparison.id.in_(items))
            .values(
                annotators_wanted=after,
                seats_free=Comparison.seats_free + count - (Comparison.annotators_wanted - after),
            )
            .execution_options(synchronize_session=False)
        )
    return locked, found.keys() - locked


def _asked_by_batch(session: Session, comparison_ids: Collection[int]) -> dict[int, int]:
    """How many people the batch of each of these items asks about it, without those who were asked by name."""
    query = select(Comparison.id, Comparison.prompt_id, Comparison.batch_id, Comparison.doubted_by_id)
    by_batch: dict[int, list[Any]] = {}
    for row in session.execute(query.where(Comparison.id.in_(comparison_ids))):
        by_batch.setdefault(row.batch_id, []).append(row)
    found: dict[int, int] = {}
    for batch_id, rows in by_batch.items():
        batch = session.get_one(Batch, batch_id)
        twice = set(asked_of_a_second(session, batch, [row.prompt_id for row in rows]))
        for row in rows:
            second = row.doubted_by_id is not None or row.prompt_id in twice
            found[row.id] = 2 if second and batch.annotators_per_prompt == 1 else batch.annotators_per_prompt
    return found


def _lock_items(session: Session, comparison_ids: Collection[int]) -> set[int]:
    items = select(Comparison.id).where(Comparison.id.in_(comparison_ids)).order_by(Comparison.id)
    return set(session.scalars(items.with_for_update(skip_locked=True)))
