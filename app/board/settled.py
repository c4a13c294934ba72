"""Which votes a board counts, and which of them anybody may look at: the rules, as conditions of a query."""

from __future__ import annotations

from sqlalchemy import and_, exists, or_, select

from app.annotations.models import COUNTS
from app.candidates.models import Candidate
from app.comparisons import purposes
from app.comparisons.models import Comparison, ComparisonCandidate
from app.prompts.models import Batch, BatchState
from app.rounds.models import Contest, ContestKind

COUNTED = and_(COUNTS, purposes.votes)
"""Whether an annotation is a vote: it counts, and its responses were drawn at random, not chosen to teach most."""

_in_contest = (
    exists()
    .where(ComparisonCandidate.comparison_id == Comparison.id)
    .where(Candidate.id == ComparisonCandidate.candidate_id)
    .where(
        Candidate.checkpoint_id.in_(
            select(Contest.challenger_id).where(Contest.verdict.is_(None), Contest.kind == ContestKind.GATE)
        )
    )
    .correlate(Comparison)
)
SETTLED = and_(
    or_(Comparison.annotators_done >= Comparison.annotators_wanted, Batch.state == BatchState.CLOSED), ~_in_contest
)
"""Whether an item wants no more judgements and no contest waits for it: looking at it sways nobody. With ``Batch`` joined."""
