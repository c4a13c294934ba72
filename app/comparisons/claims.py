"""Who is given which comparison: the first with a free seat that is for this annotator, as one statement.

A claim costs the same however much waits and however much is finished. What the annotator has judged and others have not yet
is stepped over, at a few microseconds each. The planner would not see to that by itself: its statistics are up to a minute
old, and may be of tables that were almost empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import SystemRandom
from typing import Any

from sqlalchemy import (
    BigInteger,
    Executable,
    Row,
    Select,
    Update,
    bindparam,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session, aliased

from app.accounts.models import User
from app.comparisons.models import Assignment, AssignmentState, Comparison, ComparisonCandidate, JudgementRead
from app.comparisons.purposes import Asked, fresh_for
from app.comparisons.seats import ONE, Held, assign

WORKED_ON = aliased(Comparison)
"""The item of :func:`in_work`."""
CLAIMS = 0x434C
"""First half of the advisory lock that makes one annotator's claims happen one after another."""

# A claim walks along ix_comparisons_claim and looks up what it meets by key. By its statistics the planner would rather sort
# what waits, or read all that the annotator ever did: they are up to a minute old, and were taken when the tables were small.
_serialise = select(
    func.pg_advisory_xact_lock(CLAIMS, bindparam("annotator")),
    *(func.set_config(f"enable_{way}", "off", literal_column("true")) for way in ("sort", "hashjoin", "seqscan")),
)


_annotator, _batch = bindparam("annotator", type_=BigInteger), bindparam("batch", type_=BigInteger)


# Written for one plan, the walk along ix_comparisons_claim. Asked for "batch_id = :batch ORDER BY position" the planner takes the
# primary key as soon as most rows wait, and then steps over everything that was ever finished. A range on the batch makes
# the order (batch_id, position, id), which only that index has.
def _first_free(asked: Asked) -> Select[int]:
    return (
        select(Comparison.id)
        .where(Comparison.batch_id >= _batch, Comparison.batch_id <= _batch)
        .where(*fresh_for(_annotator, _batch, asked))
        .order_by(Comparison.batch_id, Comparison.position, Comparison.id)
        .limit(ONE)
    )


def _first_free_in(asked: Asked) -> Select[int]:
    """The same in one language, for people who said what they read: its queue is walked, whatever else waits beside it.

    Here the range is on the language, for the order that only ix_comparisons_language has.
    """
    return (
        select(Comparison.id)
        .where(Comparison.language >= bindparam("spoken"), Comparison.language <= bindparam("spoken"))
        .where(Comparison.batch_id == _batch)
        .where(*fresh_for(_annotator, _batch, asked))
        .order_by(Comparison.language, Comparison.batch_id, Comparison.position, Comparison.id)
        .limit(ONE)
    )


_candidates = (
    select(func.array_agg(ComparisonCandidate.candidate_id, type_=ARRAY(BigInteger)))
    .where(ComparisonCandidate.comparison_id == Comparison.id)
    .scalar_subquery()
)


def _take(first: Select[int]) -> Update:
    return (
        update(Comparison)
        .where(Comparison.id == first.with_for_update(skip_locked=True, of=Comparison).scalar_subquery())
        .values(seats_free=Comparison.seats_free - 1)
        .returning(Comparison.id, _candidates)
    )


_waits, _waits_in = _first_free(Asked.WORK), _first_free_in(Asked.WORK)
_takes = {asked: _take(_first_free(asked)) for asked in Asked}
_takes_in = {asked: _take(_first_free_in(asked)) for asked in Asked}


def mark_read(session: Session, reader_id: int, prompt_ids: Iterable[int]) -> None:
    """Note that ``reader_id`` has been shown a judgement of these prompts: no claim gives them to that person any more."""
    rows = [{"prompt_id": each, "user_id": reader_id} for each in sorted(set(prompt_ids))]
    if rows:
        session.execute(insert(JudgementRead).values(rows).on_conflict_do_nothing())


def in_work(reader_id: int) -> Select[int]:
    """The prompts that ``reader_id`` is judging at this moment, for whatever purpose: nobody shows them others' judgements."""
    return (
        select(WORKED_ON.prompt_id)
        .join(Assignment, Assignment.comparison_id == WORKED_ON.id)
        .where(
            Assignment.annotator_id == reader_id,
            Assignment.state.in_([AssignmentState.ACTIVE, AssignmentState.RELEASED]),
        )
    )


def serialise(session: Session, annotator_id: int) -> None:
    """Wait until no other transaction claims for this annotator: two tabs that ask at once share one seat.

    Until its end, the transaction's statements are planned to walk and look up rather than to sort and read whole tables.
    """
    session.connection().execute(_serialise, {"annotator": annotator_id % 2**31})


def waits(session: Session, annotator_id: int, batch_id: int, *, readers_only: bool = False) -> bool:
    """Whether :func:`claim` would find work."""
    return _first(session, annotator_id, batch_id, _waits, _waits_in, readers_only) is not None


def claim(
    session: Session, annotator_id: int, batch_id: int, asked: Asked = Asked.WORK, *, readers_only: bool = False
) -> Held | None:
    """Take a seat in the first comparison with one free that is for this annotator, and draw its order.

    Of several languages that the annotator reads, which comes first is drawn. Whom the batch is assigned to is asked here once
    more: that may have changed since the batch was looked up. ``readers_only`` is what the batch says: it changes the way, not
    the outcome.
    """
    taken = _first(session, annotator_id, batch_id, _takes[asked], _takes_in[asked], readers_only)
    if taken is None:
        return None
    comparison_id, candidate_ids = taken
    order = sorted(candidate_ids or ())  # none where people write the answer
    SystemRandom().shuffle(order)
    return assign(session, annotator_id, comparison_id, order)


def _first(
    session: Session,
    annotator_id: int,
    batch_id: int,
    anyhow: Executable,
    in_one: Executable,
    readers_only: bool,  # noqa: FBT001 - only called above
) -> Row[*tuple[Any, ...]] | None:
    """What ``anyhow`` finds or, where it matters what the annotator reads, ``in_one`` of their languages or of an unknown one."""
    values = {"annotator": annotator_id, "batch": batch_id}
    reads = session.get_one(User, annotator_id).languages
    if not reads and not readers_only:
        return session.connection().execute(anyhow, values).one_or_none()
    languages = ["", *reads]
    SystemRandom().shuffle(languages)
    for language in languages:
        found = session.connection().execute(in_one, values | {"spoken": language}).one_or_none()
        if found is not None:
            return found
    return None
