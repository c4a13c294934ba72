"""From annotations onwards: the snapshots with them, what was trained on those, and the contests that count them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session, aliased

from app.annotations.models import STANDING, Annotation
from app.candidates.models import Candidate
from app.lineage.marks import Mark, marks
from app.loops.models import Round
from app.preferences.models import Snapshot, SnapshotAnnotation
from app.registry.models import Checkpoint
from app.rounds.models import Contest, ContestVote, TrainingRun


@dataclass(frozen=True)
class Holds:
    """A snapshot with how many of the annotations it holds."""

    snapshot: Snapshot
    annotations: int


@dataclass(frozen=True)
class Use:
    """A training run that named such a snapshot, and what came of it."""

    run: TrainingRun
    round: int
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class Marked:
    """A checkpoint that a retraction of them marks, and how many responses it wrote."""

    checkpoint: Checkpoint
    mark: Mark
    responses: int


@dataclass(frozen=True)
class Voted:
    """A contest in which they are votes. Its verdict stands; an open one is recounted."""

    contest: Contest
    round: int
    challenger: str
    champion: str
    votes: int
    counted: int
    """Of these, those that its evidence was made of."""
    seq: int | None
    """The number of the observation that the first of them is part of."""


@dataclass(frozen=True)
class Reach:
    """All that a set of annotations went into."""

    annotations: int
    """Those that stand."""
    earlier: int
    """Versions that were corrected or taken back since."""
    people: int
    snapshots: Sequence[Holds]
    uses: Sequence[Use]
    marked: Sequence[Marked]
    contests: Sequence[Voted]

    @property
    def tainted(self) -> list[Marked]:
        """Checkpoints that were trained on them."""
        return [each for each in self.marked if each.mark is Mark.TAINTED]

    @property
    def touched(self) -> list[Marked]:
        """Checkpoints whose data a tainted one chose or wrote."""
        return [each for each in self.marked if each.mark is Mark.TOUCHED]

    @property
    def responses(self) -> int:
        """What those that were trained on them have written."""
        return sum(each.responses for each in self.tainted)


def reach(session: Session, ids: Select[int]) -> Reach:
    """Where the annotations of ``ids`` went."""
    stands = func.count().filter(and_(STANDING))
    people = Annotation.annotator_id.distinct()
    standing, every, authors = session.execute(
        select(stands, func.count(), func.count(people)).where(Annotation.id.in_(ids))
    ).one()
    snapshots = holding(session, ids)
    return Reach(
        annotations=standing,
        earlier=every - standing,
        people=authors,
        snapshots=snapshots,
        uses=uses(session, [each.snapshot.id for each in snapshots]),
        marked=marked(session, marks(session, ids)),
        contests=contests(session, ids),
    )


def holding(session: Session, ids: Select[int]) -> list[Holds]:
    """Every snapshot that one of the annotations went into, oldest first."""
    query = (
        select(Snapshot, func.count())
        .join(SnapshotAnnotation, SnapshotAnnotation.snapshot_id == Snapshot.id)
        .where(SnapshotAnnotation.annotation_id.in_(ids))
        .group_by(Snapshot.id)
        .order_by(Snapshot.id)
    )
    return [Holds(snapshot, count) for snapshot, count in session.execute(query)]


def uses(session: Session, snapshots: Collection[int]) -> list[Use]:
    """The training runs on these snapshots, oldest first."""
    query = (
        select(TrainingRun, Round.number, Checkpoint)
        .join(Round, Round.id == TrainingRun.round_id)
        .outerjoin(Checkpoint, Checkpoint.id == TrainingRun.checkpoint_id)
        .where(TrainingRun.snapshot_id.in_(snapshots))
        .order_by(TrainingRun.id)
    )
    return [Use(run, number, checkpoint) for run, number, checkpoint in session.execute(query)]


def marked(session: Session, found: dict[int, Mark]) -> list[Marked]:
    """The checkpoints that have a mark, tainted ones first, oldest first."""
    wrote = written(session, found)
    rows = session.scalars(select(Checkpoint).where(Checkpoint.id.in_(found)).order_by(Checkpoint.id)).all()
    made = [Marked(each, found[each.id], wrote.get(each.id, 0)) for each in rows]
    return sorted(made, key=lambda each: each.mark is not Mark.TAINTED)


def written(session: Session, checkpoints: Collection[int]) -> dict[int, int]:
    """How many responses each of ``checkpoints`` sampled; an edit by a person is none."""
    query = (
        select(Candidate.checkpoint_id, func.count())
        .where(Candidate.checkpoint_id.in_(checkpoints), Candidate.edited_from_id.is_(None))
        .group_by(Candidate.checkpoint_id)
    )
    return {checkpoint: count for checkpoint, count in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy


def contests(session: Session, ids: Select[int]) -> list[Voted]:
    """The contests in which the annotations are votes, oldest first."""
    challenger, champion = aliased(Checkpoint), aliased(Checkpoint)
    query = (
        select(
            Contest,
            Round.number,
            challenger.name,
            champion.name,
            func.count(),
            func.count(ContestVote.seq),
            func.min(ContestVote.seq),
        )
        .join(ContestVote, ContestVote.contest_id == Contest.id)
        .join(Round, Round.id == Contest.round_id)
        .join(challenger, challenger.id == Contest.challenger_id)
        .join(champion, champion.id == Contest.champion_id)
        .where(ContestVote.annotation_id.in_(ids))
        .group_by(Contest.id, Round.number, challenger.name, champion.name)
        .order_by(Contest.id)
    )
    return [Voted(*row) for row in session.execute(query)]
