"""Labels of steps: cutting a response, keeping what was said of its steps, and reading it again. Nothing here commits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.annotations.models import StepLabel
from app.candidates.models import Candidate
from app.judgements import rules
from app.judgements.judgement import Judgement
from app.judgements.vocabulary import EditPolicy
from training.formats import steps


def checked(session: Session, candidate_id: int, judgement: Judgement, policy: EditPolicy) -> Judgement:
    """The judgement, if its labels fit the steps of the response.

    Raises:
        BadInput: with the field and the remedy.
    """
    return rules.check_steps(judgement, steps.cut(_text(session, candidate_id)), policy)


def store(session: Session, annotation_id: int, candidate_id: int, judgement: Judgement) -> None:
    """Keep the labels of ``annotation_id``, each with the characters of its step."""
    spans = steps.spans(_text(session, candidate_id))
    session.execute(
        insert(StepLabel),
        [
            {
                "annotation_id": annotation_id,
                "candidate_id": candidate_id,
                "place": place,
                "starts": starts,
                "ends": ends,
                "label": label,
                "correction": (judgement.right_step or None) if label == steps.WRONG else None,
            }
            for place, ((starts, ends), label) in enumerate(zip(spans, judgement.step_labels, strict=False))
        ],
    )


def said(session: Session, annotation_id: int) -> dict[str, Any]:
    """The labels of an annotation, as fields of a judgement."""
    rows = session.execute(
        select(StepLabel.label, StepLabel.correction)
        .where(StepLabel.annotation_id == annotation_id)
        .order_by(StepLabel.place)
    ).all()
    return {"step_labels": [row.label for row in rows], "right_step": rows[-1].correction or "" if rows else ""}


def _text(session: Session, candidate_id: int) -> str:
    return session.scalars(select(Candidate.text).where(Candidate.id == candidate_id)).one()
