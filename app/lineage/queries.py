"""Reads of the lineage from either end: an annotation, a snapshot, a checkpoint, a retraction. For staff."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.access import STAFF
from app.accounts.models import Role, User
from app.annotations.models import RETURNED, STANDING, Annotation, Retraction
from app.comparisons.models import Comparison
from app.judgements.vocabulary import Outcome
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.paging import Order, Page, read_rows
from app.lineage import reach
from app.lineage.marks import Mark, marks
from app.lineage.reach import Reach, Use, Voted
from app.loops.models import Round
from app.preferences.models import Snapshot, SnapshotAnnotation
from app.preferences.queries import is_settled
from app.prompts.models import Batch
from app.registry.models import Checkpoint
from app.rounds import learnt
from app.rounds.cards import shows
from app.rounds.learnt import Learnt
from app.rounds.models import Contest, InputRole, RunInput, RunSource, TrainingRun
from app.sources.models import Source

PEOPLE_SHOWN = 100


# ── An annotation ────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class AnnotationLineage:
    """An annotation with where it went. What it says is on the review page."""

    annotation: Annotation
    batch_id: int
    batch: str
    stands: bool
    returned: bool
    retraction: Retraction | None
    reach: Reach


def access_annotation(session: Session, user: User, annotation_id: int) -> AnnotationLineage:
    """Where an annotation went, for staff; for reviewers once nobody will be given its item, because this names models.

    Raises:
        NotFound: no such annotation, or not for this user.
    """
    query = (
        select(Annotation, Batch.id, Batch.name, STANDING, RETURNED, is_settled())
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(Annotation.id == annotation_id)
        .options(joinedload(Annotation.annotator))
    )
    row = session.execute(query).one_or_none() if user.role in STAFF else None
    if row is None:
        raise NotFound
    annotation, batch_id, batch, stands, returned, settled = row
    if user.role is not Role.ADMIN and not settled:
        raise NotFound(
            _("This item still needs annotators, and its lineage names the models. Come back when it is done.")
        )
    retraction = session.get(Retraction, annotation.retraction_id) if annotation.retraction_id else None
    went = reach.reach(session, select(Annotation.id).where(Annotation.id == annotation_id))
    went = replace(went, contests=_shown(user, went.contests))
    return AnnotationLineage(annotation, batch_id, batch, stands, returned, retraction, went)


# ── A snapshot, and what a run learnt from ───────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Author:
    """Somebody whose annotations are in a snapshot."""

    user_id: int
    pseudonym: str
    annotations: int
    retracted: int
    """Of these, those that are retracted now."""


@dataclass(frozen=True)
class SnapshotLineage:
    """What a snapshot was made of, and what was made of it."""

    annotations: int
    written: int
    """Of these, answers that were written from scratch."""
    annotators: int
    retracted: int
    """Annotations in it that were retracted since."""
    people: Sequence[Author]
    """Those with the most annotations."""
    uses: Sequence[Use]


def snapshot_lineage(session: Session, snapshot_id: int) -> SnapshotLineage:
    """Back to the annotations and people, and on to the runs and checkpoints."""
    retracted = func.count(Annotation.retraction_id)
    written = func.count().filter(Annotation.outcome == Outcome.WRITTEN)
    held = (
        select(
            Annotation.annotator_id,
            func.count().label("all"),
            retracted.label("retracted"),
            written.label("written"),
        )
        .join(SnapshotAnnotation, SnapshotAnnotation.annotation_id == Annotation.id)
        .where(SnapshotAnnotation.snapshot_id == snapshot_id)
        .group_by(Annotation.annotator_id)
        .subquery()
    )
    query = select(held.c.written, User.id, User.pseudonym, held.c.all, held.c.retracted)
    query = query.join(held, held.c.annotator_id == User.id).order_by(held.c.all.desc(), User.id)
    found = session.execute(query).all()
    people = [Author(*row[1:]) for row in found]
    return SnapshotLineage(
        annotations=sum(each.annotations for each in people),
        written=sum(row.written for row in found),
        annotators=len(people),
        retracted=sum(each.retracted for each in people),
        people=people[:PEOPLE_SHOWN],
        uses=reach.uses(session, [snapshot_id]),
    )


# ── A checkpoint ─────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Input:
    """A checkpoint that a run used, and as what."""

    role: InputRole
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Given:
    """What a checkpoint was used for: a run, and what came of it."""

    role: InputRole
    run: TrainingRun
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class CheckpointLineage:
    """Where a checkpoint came from and what came of it. What does not exist (the base has no run) is None."""

    run: TrainingRun | None
    round: int | None
    snapshot: Snapshot | None
    learnt_from: SnapshotLineage | None
    parent: Checkpoint | None
    inputs: Sequence[Input]
    sources: Sequence[Learnt]
    """What it learnt from beside its snapshot."""
    mark: Mark | None
    responses: int
    children: Sequence[Checkpoint]
    given: Sequence[Given]
    contests: Sequence[Voted]

    @property
    def annotations(self) -> int:
        """In the snapshot that it learnt from."""
        return self.learnt_from.annotations if self.learnt_from else 0

    @property
    def annotators(self) -> int:
        """Of these annotations."""
        return self.learnt_from.annotators if self.learnt_from else 0


def checkpoint_lineage(session: Session, user: User, checkpoint: Checkpoint) -> CheckpointLineage:
    """Up to the people whose judgements made it, and down to what it wrote, trained, chose and contested."""
    made = (
        select(TrainingRun, Snapshot, Round.number)
        .join(Snapshot, Snapshot.id == TrainingRun.snapshot_id)
        .join(Round, Round.id == TrainingRun.round_id)
        .where(TrainingRun.checkpoint_id == checkpoint.id)
    )
    run, snapshot, number = session.execute(made).one_or_none() or (None, None, None)
    children = select(Checkpoint).where(Checkpoint.parent_id == checkpoint.id).order_by(Checkpoint.id)
    return CheckpointLineage(
        run=run,
        round=number,
        snapshot=snapshot,
        learnt_from=snapshot_lineage(session, snapshot.id) if snapshot else None,
        parent=session.get(Checkpoint, checkpoint.parent_id) if checkpoint.parent_id else None,
        inputs=_inputs(session, run) if run else [],
        sources=learnt.of_runs(session, [run.id]).get(run.id, ()) if run else (),
        mark=marks(session).get(checkpoint.id),
        responses=reach.written(session, [checkpoint.id]).get(checkpoint.id, 0),
        children=session.scalars(children).all(),
        given=_given(session, checkpoint),
        contests=_shown(user, _contests(session, checkpoint)),
    )


def trained_by(session: Session, checkpoint_ids: Collection[int]) -> dict[int, str]:
    """In words, whose trainer made each of these checkpoints; one that no run made is left out."""
    runs = session.scalars(select(TrainingRun).where(TrainingRun.checkpoint_id.in_(checkpoint_ids)))
    return {run.checkpoint_id: run.trained_by for run in runs if run.checkpoint_id is not None}


def _inputs(session: Session, run: TrainingRun) -> list[Input]:
    query = (
        select(RunInput.role, Checkpoint)
        .join(Checkpoint, Checkpoint.id == RunInput.checkpoint_id)
        .where(RunInput.run_id == run.id)
        .order_by(RunInput.role, Checkpoint.id)
    )
    return [Input(role, used) for role, used in session.execute(query)]


def _given(session: Session, checkpoint: Checkpoint) -> list[Given]:
    query = (
        select(RunInput.role, TrainingRun, Checkpoint)
        .join(TrainingRun, TrainingRun.id == RunInput.run_id)
        .outerjoin(Checkpoint, Checkpoint.id == TrainingRun.checkpoint_id)
        .where(RunInput.checkpoint_id == checkpoint.id)
        .order_by(TrainingRun.id, RunInput.role)
    )
    return [Given(role, run, made) for role, run, made in session.execute(query)]


def _contests(session: Session, checkpoint: Checkpoint) -> list[Voted]:
    challenger, champion = aliased(Checkpoint), aliased(Checkpoint)
    query = (
        select(Contest, Round.number, challenger.name, champion.name)
        .join(Round, Round.id == Contest.round_id)
        .join(challenger, challenger.id == Contest.challenger_id)
        .join(champion, champion.id == Contest.champion_id)
        .where((Contest.challenger_id == checkpoint.id) | (Contest.champion_id == checkpoint.id))
        .order_by(Contest.id)
    )
    return [
        Voted(contest, number, one, other, contest.counted, contest.counted, None)
        for contest, number, one, other in session.execute(query)
    ]


def _shown(user: User, contests: Sequence[Voted]) -> list[Voted]:
    """Those that ``user`` may know of: reviewers judge as well, and of an open one nobody who judges is told."""
    return [each for each in contests if shows(user, each.contest)]


# ── A source ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class SourceUse(Use):
    """A run that learns from a source, and how much."""

    weight: float


def source_uses(session: Session, source: Source) -> list[SourceUse]:
    """The training runs that name a source, oldest first."""
    query = (
        select(TrainingRun, Round.number, Checkpoint, RunSource.weight)
        .join(RunSource, RunSource.run_id == TrainingRun.id)
        .join(Round, Round.id == TrainingRun.round_id)
        .outerjoin(Checkpoint, Checkpoint.id == TrainingRun.checkpoint_id)
        .where(RunSource.source_id == source.id)
        .order_by(TrainingRun.id)
    )
    return [SourceUse(run, number, made, weight) for run, number, made, weight in session.execute(query)]


# ── Retractions ──────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class RetractionRow:
    """A retraction with who made it and who restored it, by name; None: at the command line."""

    retraction: Retraction
    by: str | None
    restored_by: str | None


def list_retractions(session: Session, *, before: int | None = None, limit: int = 50) -> Page[RetractionRow]:
    """Newest first."""
    by, restorer = aliased(User), aliased(User)
    query = (
        select(Retraction, by.name, restorer.name)
        .outerjoin(by, by.id == Retraction.created_by_id)
        .outerjoin(restorer, restorer.id == Retraction.restored_by_id)
    )
    return read_rows(session, query, Order(Retraction.id), before, limit).map(lambda row: RetractionRow(*row))


def access_retraction(session: Session, user: User, retraction_id: int) -> Retraction:
    """The retraction, for admins.

    Raises:
        NotFound: no such retraction, or not for this user.
    """
    found = session.get(Retraction, retraction_id) if user.role is Role.ADMIN else None
    if found is None:
        raise NotFound
    return found


def retraction_row(session: Session, retraction: Retraction) -> RetractionRow:
    """One retraction as the list shows it."""
    names = [
        session.scalar(select(User.name).where(User.id == key)) if key else None
        for key in (retraction.created_by_id, retraction.restored_by_id)
    ]
    return RetractionRow(retraction, *names)


def retracted_by(session: Session, retraction: Retraction) -> Reach:
    """Where went what ``retraction`` took out, and keeps out."""
    return reach.reach(session, select(Annotation.id).where(Annotation.retraction_id == retraction.id))
