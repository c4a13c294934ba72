"""What is of this round: judged since the last snapshot that a round ended with, whatever its verdict.

By snapshot and not by number or time: a judgement that was returned and is settled again, or was being written while the
snapshot was asked for, is in none, and so is new. A correction is a new judgement. What a failed or cancelled training was
to learn stays new.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation
from app.comparisons import purposes
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.loops.models import Round
from app.loops.queries import ENDED_COLLECTING
from app.preferences import trainable
from app.preferences.forms import ExportFilter, Treatment
from app.preferences.models import Snapshot, SnapshotAnnotation
from app.preferences.queries import narrowing
from app.rounds.models import RunKind, RunState, TrainingRun

TRAINED = and_(
    Round.state.in_(ENDED_COLLECTING), TrainingRun.kind == RunKind.REWARD, TrainingRun.state == RunState.SUCCEEDED
)
"""Reward models of rounds that were trained to their end: their snapshots hold all that there was."""


def last_run(session: Session) -> TrainingRun | None:
    """The reward model's run of the last round that was trained to its end."""
    query = select(TrainingRun).join(Round, Round.id == TrainingRun.round_id).where(TRAINED)
    return session.scalar(query.order_by(Round.number.desc(), TrainingRun.id.desc()).limit(1))


def last_snapshot(session: Session) -> Snapshot | None:
    """What that run learnt from."""
    last = last_run(session)
    return None if last is None else session.get_one(Snapshot, last.snapshot_id)


def beyond(snapshot: Snapshot | None) -> list[ColumnElement[bool]]:
    """Whether an annotation is new to what learnt from ``snapshot``: it is not in it; where there is none, all are.

    A snapshot that leaves out what is private or unsafe never holds some of what was judged before it. Of those only what
    was judged after it is new: else the same judgements would begin a training every night.
    """
    if snapshot is None:
        return []
    held = ExportFilter.model_validate(snapshot.filter)
    found = narrowing(ExportFilter(beyond_snapshot=snapshot.id))
    leaves_out = bool(held.without) or held.private is Treatment.LEAVE_OUT
    return [*found, Annotation.id > held.until] if leaves_out and held.until is not None else found


def otherwise(snapshot: Snapshot | None) -> bool:
    """Whether private or unsafe texts are treated otherwise in ``snapshot`` than in the one that a training would freeze now."""
    if snapshot is None:
        return False
    held, wanted = ExportFilter.model_validate(snapshot.filter), trainable.selection()
    return (held.without, held.private) != (wanted.without, wanted.private)


def newest_trained(session: Session) -> int:
    """The id of the newest annotation that the last training knew; of this round are those after it. 0 before the first.

    One that was returned before and is settled again has an id of its own time: it is learnt from as what is older is.
    """
    last = last_snapshot(session)
    return 0 if last is None else int(last.filter["until"])


def judged(session: Session, since: Snapshot | None) -> int:
    """How many annotations count that are new to what learnt from ``since``."""
    query = (
        select(func.count())
        .select_from(Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(COUNTS, purposes.trains, *beyond(since))
    )
    return session.scalar(query) or 0


class Judged(NamedTuple):
    """How many annotations there are, and how many of them are answers that were written from scratch."""

    annotations: int = 0
    written: int = 0


def by_round(session: Session) -> dict[int, Judged]:
    """How many annotations count of each round, by its number; together they are all.

    Of the current round are those :func:`beyond` the last snapshot; before it, each belongs to the first snapshot that came
    after it.
    """
    until = Snapshot.filter["until"].astext.cast(BigInteger)
    ended = session.execute(
        select(Round.number, func.max(until))
        .join(TrainingRun, TrainingRun.round_id == Round.id)
        .join(Snapshot, Snapshot.id == TrainingRun.snapshot_id)
        .where(TRAINED)
        .group_by(Round.number)
        .order_by(Round.number)
    ).all()
    numbers = [number for number, _ in ended] + [session.scalar(select(func.max(Round.number))) or 1]
    place: ColumnElement[int] = literal(len(ended))
    if ended:
        after = cast([last + 1 for _, last in ended], ARRAY(BigInteger))
        before = func.least(func.width_bucket(Annotation.id, after), len(ended) - 1)
        place = case((and_(*beyond(last_snapshot(session))), len(ended)), else_=before)
    query = (
        select(place.label("place"), func.count(), func.count().filter(Annotation.outcome == Outcome.WRITTEN))
        .select_from(Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(COUNTS, purposes.trains)
        .group_by("place")
    )
    found: dict[int, Judged] = defaultdict(Judged)
    for index, count, written in session.execute(query):
        before_it = found[numbers[index]]
        found[numbers[index]] = Judged(before_it.annotations + count, before_it.written + written)
    return dict(found)


def taken_back(session: Session) -> int:
    """Annotations that the last training learnt from and that count no more: corrected, returned or retracted."""
    last = last_run(session)
    if last is None:
        return 0
    query = (
        select(func.count())
        .select_from(SnapshotAnnotation)
        .join(Annotation, Annotation.id == SnapshotAnnotation.annotation_id)
        .where(SnapshotAnnotation.snapshot_id == last.snapshot_id, ~COUNTS)
    )
    return session.scalar(query) or 0
