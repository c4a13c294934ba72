"""Somebody else compares an edit with its original, blind: whether edits are better is measured, not assumed."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.annotations.models import Annotation
from app.candidates.models import Candidate
from app.comparisons.models import Comparison, ComparisonCandidate, Purpose
from app.prompts.models import Prompt

FINISH_REASON = "edited"
COPIED = (
    "prompt_id",
    "checkpoint_id",
    "deployment_id",
    "steps",
    "prompt_tokens",
    "completion_tokens",
    "sampling",
    "engine_version",
)


def is_drawn(annotation_id: int, percent: int) -> bool:
    """Whether the edit of this annotation is verified: the same however often it is asked."""
    digest = hashlib.sha256(f"verify:{annotation_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < percent


def after(session: Session, annotation_id: int, percent: int) -> None:
    """Have the edit of a stored annotation verified, where it has one and is drawn."""
    if not is_drawn(annotation_id, percent):
        return
    found = session.execute(
        select(Annotation, Comparison)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(Annotation.id == annotation_id, Annotation.edited_text.isnot(None))
    ).one_or_none()
    if found is None:
        return
    annotation, collected = found
    values: dict[str, Any] = {
        "batch_id": collected.batch_id,
        "prompt_id": collected.prompt_id,
        "purpose": Purpose.VERIFY_EDIT,
        "language": collected.language,
        "annotators_wanted": 1,
        "seats_free": 1,
        "not_for_id": annotation.annotator_id,
        "verifies_id": annotation.id,
    }
    made = session.scalar(
        insert(Comparison)
        .values(values)
        .on_conflict_do_nothing(index_elements=["verifies_id"])
        .returning(Comparison.id)
    )
    if made is None:
        return
    pair = [annotation.edited_candidate_id, _edited_candidate(session, annotation)]
    session.execute(insert(ComparisonCandidate), [{"comparison_id": made, "candidate_id": each} for each in pair])


def _edited_candidate(session: Session, annotation: Annotation) -> int:
    """The improved text as a candidate: the original's provenance, under the next number of its checkpoint."""
    # two edits of one prompt that arrive at once would take the same number
    session.execute(
        select(Prompt.id).join(Comparison).where(Comparison.id == annotation.comparison_id).with_for_update(of=Prompt)
    )
    original = session.get_one(Candidate, annotation.edited_candidate_id)
    last = session.scalar(
        select(func.max(Candidate.sample_index)).where(
            Candidate.prompt_id == original.prompt_id, Candidate.checkpoint_id == original.checkpoint_id
        )
    )
    edited = Candidate(
        **{name: getattr(original, name) for name in COPIED},
        sample_index=(last or 0) + 1,
        text=(annotation.edited_text or "").replace("\r\n", "\n"),
        finish_reason=FINISH_REASON,
        edited_from_id=original.id,
    )
    session.add(edited)
    session.flush()
    return edited.id


def take_back(session: Session, annotation_id: int) -> None:
    """The annotation was corrected or taken back: its edit no longer needs verification, unless someone has already started."""
    session.execute(
        update(Comparison)
        .where(Comparison.verifies_id == annotation_id, Comparison.seats_free == 1)
        .values(seats_free=0)
        .execution_options(synchronize_session=False)
    )
