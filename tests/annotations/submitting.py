"""A submission of an item, and what its comparison and lease come to."""

from __future__ import annotations

from sqlalchemy import func, text, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.comparisons.models import Assignment, Comparison
from app.judgements.positions import position
from app.judgements.vocabulary import Outcome


def ranked(assignment: Assignment, **values: object) -> Submission:
    shown = len(assignment.order_shown)
    fields = {
        "fencing_token": assignment.fencing_token,
        "outcome": Outcome.RANKED,
        "ranking": [[position(index)] for index in range(shown)],
        "strengths": [3] * (shown - 1),
    }
    return Submission.model_validate(fields | values)


def stored(session: Session, user: User, assignment_id: int, submission: Submission, key: str) -> Annotation:
    return session.get_one(Annotation, recording.submit(session, user, assignment_id, submission, key).id)


def seats(session: Session, comparison: Comparison) -> tuple[int, int]:
    session.refresh(comparison)
    return comparison.seats_free, comparison.annotators_done


def expire(session: Session, assignment: Assignment) -> None:
    session.execute(
        update(Assignment)
        .where(Assignment.id == assignment.id)
        .values(lease_until=func.now() - text("interval '1 second'"))
    )
