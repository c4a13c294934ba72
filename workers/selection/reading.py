"""What a head is fitted on: the newest judgements, and the features of what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation
from app.candidates import features
from app.comparisons import purposes
from app.comparisons.models import ChoiceAwaited, Comparison
from app.prompts.models import Batch, BatchState
from app.registry.appointments import appointed
from app.registry.models import LoopRole
from training.formats.votes import votes
from workers.selection.head import Floats, Judged

NEWEST = 2000
"""Judgements that a head is fitted on: more take longer and change little."""
WAITING = 300
"""Prompts among which is chosen at once, those that wait longest."""


@dataclass(frozen=True)
class Said:
    """Judgements, and the rows of the features that they are about."""

    features: Floats
    judged: Judged


def base_id(session: Session) -> int | None:
    """The model whose features are read."""
    base = appointed(session, LoopRole.BASE)
    return None if base is None else base.id


def newest_judgements(session: Session) -> list[Any]:
    """Rows of prompt, outcome, ranking, strengths and what was shown."""
    query = (
        select(
            Comparison.prompt_id,
            Annotation.outcome,
            Annotation.ranking,
            Annotation.strengths,
            Annotation.order_shown,
        )
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(COUNTS, purposes.compares)
        .order_by(Annotation.id.desc())
        .limit(NEWEST)
    )
    return list(session.execute(query))


def waiting_prompts(session: Session, batch_id: int | None = None) -> list[int]:
    """Prompts of batches that go on, of which it is not chosen yet what is shown."""
    query = (
        select(ChoiceAwaited.prompt_id)
        .join(Batch, Batch.id == ChoiceAwaited.batch_id)
        .where(Batch.state.in_((BatchState.PREPARING, BatchState.OPEN)))
        .order_by(ChoiceAwaited.created_at, ChoiceAwaited.prompt_id)
        .limit(WAITING)
    )
    return list(session.scalars(query if batch_id is None else query.where(ChoiceAwaited.batch_id == batch_id)))


def said(session: Session, base: int) -> Said | None:
    """The newest judgements of which both responses' features are known; None where there is none."""
    rows = newest_judgements(session)
    vectors = features.read(session, sorted({each for row in rows for each in row[-1]}), base)
    place = {candidate: number for number, candidate in enumerate(vectors)}
    pairs = [
        (place[vote.one], place[vote.other], vote.score, prompt)
        for prompt, outcome, ranking, strengths, shown in rows
        for vote in votes(outcome, ranking, strengths, shown)
        if vote.one in place and vote.other in place
    ]
    if not pairs:
        return None
    one, other, score, prompts = zip(*pairs, strict=True)
    judged = Judged(np.array(one), np.array(other), np.array(score, dtype=float), np.array(prompts))
    return Said(as_rows(list(vectors.values())), judged)


def as_rows(vectors: Sequence[bytes]) -> Floats:
    """[responses, features]."""
    return np.stack([np.frombuffer(each, dtype="<f2") for each in vectors]).astype(float)
