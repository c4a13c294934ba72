"""Who is given which comparison: the first with a free seat that is for this annotator, as one statement.

A claim costs the same however much waits and however much is finished. What the annotator has judged and others have not yet
is stepped over, at a few microseconds each. The planner would not see to that by itself: its statistics are up to a minute
old, and may be of tables that were almost empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import SystemRandom

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session, aliased

from app.annotations.models import Assignment, Comparison, ComparisonCandidate, JudgementRead, Purpose
from app.annotations.seats import ONE, ZERO, Held, assign, has_free_seat, written_out

CLAIMS = 0x434C
"""First half of the advisory lock that makes one annotator's claims happen one after another."""
GOLD_SEATS = 10_000
"""What a comparison with a known answer wants: everybody may meet it, once. A retired one wants fewer."""

# A claim walks along ix_comparisons_claim and looks up what it meets by key. By its statistics the planner would rather sort
# what waits, or read all that the annotator ever did: they are up to a minute old, and were taken when the tables were small.
_serialise = select(
    func.pg_advisory_xact_lock(CLAIMS, bindparam("annotator")),
    *(func.set_config(f"enable_{way}", "off", literal_column("true")) for way in ("sort", "hashjoin", "seqscan")),
)

_gold, _collect, _verify = (written_out(each) for each in (Purpose.GOLD, Purpose.COLLECT, Purpose.VERIFY_EDIT))
is_gold = and_(Comparison.purpose == _gold, Comparison.annotators_wanted == literal_column(str(GOLD_SEATS)))
"""Whether a comparison has a known answer and is not retired."""
_twin = aliased(Comparison, name="twin")


def fresh_for(annotator: ColumnElement[int], *, gold: bool = False) -> list[ColumnElement[bool]]:
    """The conditions under which a comparison has a seat for ``annotator``: the one place where this is decided.

    Nobody judges the same responses twice, once with a known answer and once without; nobody verifies an edit of their own.
    An edit may be verified by those who judged its prompt. Nobody is given what they have read another's judgement of.
    """
    # Limited subqueries and no EXISTS or joins: those the planner may turn round, and read all that the annotator ever did.
    # A sum cannot be looked up in an index on the annotator, which leaves the one on the comparison, and an order that nobody
    # needs leaves uq_comparisons_one_per_purpose for the twin: what is read is bounded by the seats of one comparison.
    by_annotator = Assignment.annotator_id + ZERO == annotator
    twin = (
        select(_twin.id)
        .where(
            _twin.prompt_id == Comparison.prompt_id,
            _twin.purpose != _verify,
            func.concat(_twin.purpose) == (_collect if gold else _gold),
        )
        .order_by(_twin.prompt_id, _twin.purpose)
        .limit(ONE)
        .correlate(Comparison)
        .scalar_subquery()
    )
    met, met_twin = (
        select(Assignment.id).where(Assignment.comparison_id == each, condition).limit(ONE).scalar_subquery()
        # everybody may meet a known answer: there, the annotator narrows it down as well
        for each, condition in (
            (Comparison.id, Assignment.annotator_id == annotator if gold else by_annotator),
            (twin, by_annotator),
        )
    )
    read = (
        select(JudgementRead.prompt_id)
        .where(JudgementRead.prompt_id == Comparison.prompt_id, JudgementRead.user_id == annotator)
        .limit(ONE)
        .scalar_subquery()
    )
    conditions = [
        has_free_seat,
        met.is_(None),
        read.is_(None),
        or_(Comparison.not_for_id.is_(None), Comparison.not_for_id != annotator),
    ]
    if gold:
        return [*conditions, is_gold, met_twin.is_(None)]
    return [*conditions, Comparison.purpose != _gold, or_(Comparison.purpose == _verify, met_twin.is_(None))]


# Written for one plan, the walk along ix_comparisons_claim. Asked for "batch_id = :batch ORDER BY id" the planner takes the
# primary key as soon as most rows wait, and then steps over everything that was ever finished. A range on the batch makes
# the order (batch_id, id), which only that index has.
def _first_free(*, gold: bool = False) -> Select[int]:
    return (
        select(Comparison.id)
        .where(Comparison.batch_id >= bindparam("batch"), Comparison.batch_id <= bindparam("batch"))
        .where(*fresh_for(bindparam("annotator", type_=BigInteger), gold=gold))
        .order_by(Comparison.batch_id, Comparison.id)
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


_waits = _first_free()
_take_first_free = _take(_waits)
_take_first_gold = _take(_first_free(gold=True))


def mark_read(session: Session, reader_id: int, prompt_ids: Iterable[int]) -> None:
    """Note that ``reader_id`` has been shown a judgement of these prompts: no claim gives them to that person any more."""
    rows = [{"prompt_id": each, "user_id": reader_id} for each in sorted(set(prompt_ids))]
    if rows:
        session.execute(insert(JudgementRead).values(rows).on_conflict_do_nothing())


def serialise(session: Session, annotator_id: int) -> None:
    """Wait until no other transaction claims for this annotator: two tabs that ask at once share one seat.

    Until its end, the transaction's statements are planned to walk and look up rather than to sort and read whole tables.
    """
    session.connection().execute(_serialise, {"annotator": annotator_id % 2**31})


def waits(session: Session, annotator_id: int, batch_id: int) -> bool:
    """Whether :func:`claim` would find a seat that is not of a known answer."""
    values = {"annotator": annotator_id, "batch": batch_id}
    return session.connection().execute(_waits, values).first() is not None


def claim(session: Session, annotator_id: int, batch_id: int, *, gold: bool = False) -> Held | None:
    """Take a seat in the first comparison with one free that is for this annotator, and draw its order.

    With ``gold`` it is one with a known answer, else never.
    """
    connection = session.connection()
    take = _take_first_gold if gold else _take_first_free
    taken = connection.execute(take, {"annotator": annotator_id, "batch": batch_id}).one_or_none()
    if taken is None:
        return None
    comparison_id, candidate_ids = taken
    order = sorted(candidate_ids)
    SystemRandom().shuffle(order)
    return assign(session, annotator_id, comparison_id, order)
