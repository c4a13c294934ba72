"""Features of candidates: which are wanted, and storing them. Nothing here commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.candidates.models import Candidate, CandidateFeatures
from app.prompts.models import Prompt


def lacking(session: Session, candidate_ids: Sequence[int], base_id: int) -> list[int]:
    """Those of which the base model's features are not known, in their order."""
    known = select(CandidateFeatures.candidate_id).where(
        CandidateFeatures.candidate_id.in_(candidate_ids), CandidateFeatures.checkpoint_id == base_id
    )
    there = set(session.scalars(known))
    return [each for each in candidate_ids if each not in there]


def texts(session: Session, candidate_ids: Sequence[int]) -> list[tuple[int, dict[str, object]]]:
    """What the base model reads of each: the line of ``training.features``."""
    query = (
        select(Candidate.id, Candidate.text, Prompt.messages, Prompt.tools)
        .join(Prompt, Prompt.id == Candidate.prompt_id)
        .where(Candidate.id.in_(candidate_ids))
        .order_by(Candidate.id)
    )
    rows = session.execute(query)
    return [(key, {"prompt": messages, "tools": tools, "response": text}) for key, text, messages, tools in rows]


def store(session: Session, base_id: int, vectors: Mapping[int, bytes]) -> None:
    """Keep them; what is there already stays."""
    values = [{"candidate_id": key, "checkpoint_id": base_id, "vector": vector} for key, vector in vectors.items()]
    if values:
        session.execute(insert(CandidateFeatures).values(values).on_conflict_do_nothing())


def read(session: Session, candidate_ids: Sequence[int], base_id: int) -> dict[int, bytes]:
    """The vectors that are known."""
    query = select(CandidateFeatures.candidate_id, CandidateFeatures.vector).where(
        CandidateFeatures.candidate_id.in_(candidate_ids), CandidateFeatures.checkpoint_id == base_id
    )
    return {key: vector for key, vector in session.execute(query)}  # noqa: C416 - a Row is no pair to mypy
