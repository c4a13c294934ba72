"""The disagreement queue: where one person contradicts a confident reward model, a second person is asked, blind.

Read after each training, with the scores of the new reward model (:mod:`workers.selection.baseline`). A judgement that the
model was trained on and still contradicts is the more telling. Who is asked does not know it: the item comes like any other,
and what the model says is shown to staff alone, once both have judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, floor
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.annotations.models import COUNTS, Annotation
from app.comparisons import service as comparisons
from app.comparisons.models import Comparison
from app.prompts.models import Batch
from training.formats.votes import votes
from workers.selection.reading import NEWEST

CONFIDENT: Final = 0.9
"""The probability that a reward model gives to the response that the person found worse, from which it is confident."""
SHARE: Final = 0.05
"""Of the judgements that could be doubted, the most that are: people's time is dearer than a wrong pair."""


def ask_again(session: Session, reward_model_id: int, scored: Mapping[int, float]) -> int:
    """Ask a second person where this model contradicts the first with confidence; how many items that are.

    Args:
        session: It is not committed.
        reward_model_id: The checkpoint that gave the scores.
        scored: Its rewards, by candidate: the difference of two is the log-odds that one is preferred.
    """
    said = _said_once(session)
    against = {item: odds for item, odds in ((row[0], _against(row, scored)) for row in said) if odds >= CONFIDENT}
    most = floor(SHARE * len(said))
    return comparisons.ask_again(session, sorted(against, key=lambda item: -against[item])[:most], reward_model_id)


def _said_once(session: Session) -> Sequence[Any]:
    """The newest judgements that could be doubted: comparison, outcome, ranking, strengths and what was shown."""
    query = (
        select(Comparison.id, Annotation.outcome, Annotation.ranking, Annotation.strengths, Annotation.order_shown)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(COUNTS, comparisons.DOUBTABLE)
        .order_by(Annotation.id.desc())
        .limit(NEWEST)
    )
    return session.execute(query).all()


def _against(row: Any, scored: Mapping[int, float]) -> float:
    """The highest probability that the model gives to a response that the person found worse; 0 where it says nothing."""
    _, outcome, ranking, strengths, shown = row
    margins = [
        (scored[vote.other] - scored[vote.one]) * (1 if vote.score == 1 else -1)
        for vote in votes(outcome, ranking, strengths, shown)
        if vote.score != 0.5 and vote.one in scored and vote.other in scored
    ]
    return 1 / (1 + exp(-max(margins))) if margins else 0.0
