"""What a retraction means for models: which were trained on retracted annotations, and which only on data of such models.

Derived from the lineage whenever it is asked, and stored nowhere: a restored retraction, or one more edge, changes it by
itself. There are few checkpoints, so the graph is walked here; what is large (annotations, candidates) stays in the database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, select
from sqlalchemy.orm import Session, aliased

from app.annotations.models import Annotation, Revision
from app.candidates.models import Candidate, LiveGeneration
from app.comparisons.models import ComparisonCandidate
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.preferences.models import SnapshotAnnotation
from app.registry.models import Checkpoint, Deployment
from app.rounds.models import InputRole, RunInput, RunKind, TrainingRun

RETRACTED = select(Annotation.id).where(Annotation.retraction_id.is_not(None))
"""Every annotation that is retracted now."""


class Mark(StrEnum):
    """What a retraction makes of a checkpoint. One that is both is tainted."""

    TAINTED = "tainted"
    """Trained on it, or made of weights that were."""
    TOUCHED = "touched"
    """Chosen by a tainted model, sampled from one, or trained on judgements of its answers."""

    @property
    def word(self) -> str:
        """What pages call it."""
        return _("tainted") if self is Mark.TAINTED else _("touched")


WORDS = {
    Mark.TAINTED: N_("Trained on annotations that were retracted later, or made from such weights."),
    Mark.TOUCHED: N_(
        "Not trained on retracted annotations itself, but its data were chosen or written by a model that was."
    ),
}
_MIXED_IN = (InputRole.CHOSE, InputRole.SAMPLED)


@dataclass
class _Graph:
    """The edges between checkpoints, and from snapshots to checkpoints."""

    weights: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """From a checkpoint to those made of its weights: trained further, or averaged."""
    data: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """From a checkpoint to those whose data it chose or wrote."""
    of_snapshot: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))


def marks(session: Session, ids: Select[int] = RETRACTED) -> dict[int, Mark]:
    """The mark of each checkpoint that has one, by id, once the annotations of ``ids`` are retracted."""
    held = set(session.scalars(select(SnapshotAnnotation.snapshot_id).distinct().where(_holds(ids))))
    if not held:
        return {}
    graph = _graph(session)
    tainted = _closure((made for each in held for made in graph.of_snapshot[each]), graph.weights)
    touched = {made for each in tainted for made in graph.data[each]}
    touched |= {
        made for each in _judging(session, graph.of_snapshot, tainted) for made in graph.of_snapshot[each]
    } - tainted
    touched = _closure(touched, graph.weights) - tainted
    return dict.fromkeys(touched, Mark.TOUCHED) | dict.fromkeys(tainted, Mark.TAINTED)


def _holds(ids: Select[int]) -> ColumnElement[bool]:
    return SnapshotAnnotation.annotation_id.in_(ids)


def _graph(session: Session) -> _Graph:
    graph = _Graph()
    families: Select[*tuple[Any, ...]] = select(Checkpoint.parent_id, Checkpoint.id).where(
        Checkpoint.parent_id.is_not(None)
    )
    for parent, child in session.execute(families):
        graph.weights[parent].add(child)
    before = aliased(TrainingRun)
    runs: Select[*tuple[Any, ...]] = (
        select(TrainingRun.snapshot_id, TrainingRun.kind, TrainingRun.checkpoint_id, before.kind, before.checkpoint_id)
        .outerjoin(before, before.id == TrainingRun.after_run_id)
        .where(TrainingRun.checkpoint_id.is_not(None))
    )
    for snapshot, kind, made, kind_before, made_before in session.execute(runs):
        if kind is not RunKind.CHECK:  # it measures on its snapshot, and an average has learnt what its parts have
            graph.of_snapshot[snapshot].add(made)
        if kind is RunKind.SFT and kind_before is RunKind.REWARD:  # runs of before their inputs were noted
            graph.data[made_before].add(made)
        elif kind is RunKind.DPO and kind_before is RunKind.SFT:
            graph.weights[made_before].add(made)  # it goes on from that adapter, although its parent is the base
    inputs: Select[*tuple[Any, ...]] = (
        select(RunInput.role, RunInput.checkpoint_id, TrainingRun.checkpoint_id)
        .join(TrainingRun, TrainingRun.id == RunInput.run_id)
        .where(TrainingRun.checkpoint_id.is_not(None), RunInput.role.in_((*_MIXED_IN, InputRole.AVERAGED)))
    )
    for role, source, made in session.execute(inputs):
        (graph.data if role in _MIXED_IN else graph.weights)[source].add(made)
    return graph


def _closure(start: Iterable[int], edges: dict[int, set[int]]) -> set[int]:
    """``start`` and all that can be reached from it."""
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges[one]
    return found


def _judging(session: Session, snapshots: Collection[int], tainted: Collection[int]) -> list[int]:
    """Which of ``snapshots`` hold a judgement of an answer, or a revision, that one of ``tainted`` wrote."""
    by_tainted = (
        select(ComparisonCandidate.comparison_id)
        .join(Candidate, Candidate.id == ComparisonCandidate.candidate_id)
        .where(ComparisonCandidate.comparison_id == Annotation.comparison_id, Candidate.checkpoint_id.in_(tainted))
    )
    revised_by_tainted = (
        select(Revision.id)
        .join(LiveGeneration, LiveGeneration.id == Revision.generation_id)
        .join(Deployment, Deployment.id == LiveGeneration.deployment_id)
        .where(Revision.id == Annotation.revision_id, Deployment.checkpoint_id.in_(tainted))
    )
    # snapshot by snapshot, so that the first such judgement answers for it
    judged = (
        select(SnapshotAnnotation.annotation_id)
        .join(Annotation, Annotation.id == SnapshotAnnotation.annotation_id)
        .where(exists(by_tainted) | exists(revised_by_tainted))
    )
    return [
        each
        for each in snapshots
        if session.scalar(judged.where(SnapshotAnnotation.snapshot_id == each).limit(1)) is not None
    ]
