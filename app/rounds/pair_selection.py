"""Whether anything but chance chooses what is shown: by what a batch says, what was judged, and whether a contest is open."""

from __future__ import annotations

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation
from app.candidates.models import CandidateFeatures
from app.comparisons import purposes
from app.comparisons.drawing import always_at_random
from app.comparisons.models import Comparison, ComparisonCandidate
from app.prompts.models import Batch, BatchState, PairSelection, Prompt, PromptState
from app.rounds.models import Contest, ContestKind

BY_A_MODEL = frozenset({PairSelection.BALD, PairSelection.BEST_WORST})
ENOUGH = 60
"""Judgements from which a head knows more than nothing; before, what it chooses is chance of another kind."""


def selection(session: Session, asked: PairSelection, prompt_id: int, content_hash: bytes) -> PairSelection:
    """What the responses of this prompt are chosen by, where its batch asks for ``asked``.

    At random while a gate is open: only a fifth of the judgements would count, and a verdict take five times as long. At
    random also until the features of enough judged responses are known: where they cannot be read, everything counts.
    """
    if asked is PairSelection.RANDOM or always_at_random(prompt_id, content_hash) or gate_is_open(session):
        return PairSelection.RANDOM
    if asked in BY_A_MODEL and not _judged(session, featured=True):
        return PairSelection.RANDOM
    return asked


def gate_is_open(session: Session) -> bool:
    """Whether a challenger is in contest; the watch over a champion goes on beside anything."""
    gate = select(literal(1)).where(Contest.kind == ContestKind.GATE, Contest.verdict.is_(None)).limit(1)
    return session.scalar(gate) is not None


def features_are_wanted(session: Session) -> bool:
    """Whether an open batch chooses by a model, still has prompts to choose for, and people have said enough to fit one."""
    by_a_model = (
        select(literal(1))
        .where(Batch.selection.in_(BY_A_MODEL), Batch.state.in_((BatchState.PREPARING, BatchState.OPEN)))
        .where(select(Prompt.id).where(Prompt.batch_id == Batch.id, Prompt.state == PromptState.PENDING).exists())
        .limit(1)
    )
    return session.scalar(by_a_model) is not None and _judged(session)


def _judged(session: Session, *, featured: bool = False) -> bool:
    """Whether people have said enough; ``featured``: of responses whose features are known."""
    some = (
        select(Annotation.id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(COUNTS, purposes.compares)
        .order_by(Annotation.id.desc())
        .limit(ENOUGH)
    )
    if featured:
        known = (
            select(literal(1))
            .select_from(ComparisonCandidate)
            .join(CandidateFeatures, CandidateFeatures.candidate_id == ComparisonCandidate.candidate_id)
            .where(ComparisonCandidate.comparison_id == Comparison.id)
            .correlate(Comparison)
            .exists()
        )
        some = some.where(known)
    return (session.scalar(select(func.count()).select_from(some.subquery())) or 0) >= ENOUGH
