"""What reward models say of candidates: which are wanted, storing and reading them. Nothing here commits.

Scores are made of what people have judged already, and shown to staff beside a judgement that is submitted: nobody who judges
an item is told what a model says of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.candidates.models import CandidateScore


def read(session: Session, candidate_ids: Sequence[int], checkpoint_id: int) -> dict[int, float]:
    """Those that are known, by candidate."""
    query = select(CandidateScore.candidate_id, CandidateScore.score).where(
        CandidateScore.candidate_id.in_(candidate_ids), CandidateScore.checkpoint_id == checkpoint_id
    )
    return {key: score for key, score in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy


def store(session: Session, checkpoint_id: int, found: Mapping[int, float]) -> None:
    """Keep them; what is there already stays."""
    values = [{"candidate_id": key, "checkpoint_id": checkpoint_id, "score": score} for key, score in found.items()]
    if values:
        session.execute(insert(CandidateScore).values(values).on_conflict_do_nothing())


def newest(session: Session, candidate_ids: Sequence[int]) -> tuple[int, dict[int, float]] | None:
    """By the newest reward model that has scored all of these: its checkpoint, and the scores; None where none has."""
    query = select(CandidateScore.checkpoint_id, CandidateScore.candidate_id, CandidateScore.score).where(
        CandidateScore.candidate_id.in_(candidate_ids)
    )
    by_model: dict[int, dict[int, float]] = {}
    for checkpoint_id, candidate_id, score in session.execute(query):
        by_model.setdefault(checkpoint_id, {})[candidate_id] = score
    whole = [key for key, scores in by_model.items() if len(scores) == len(set(candidate_ids))]
    return (max(whole), by_model[max(whole)]) if whole else None
