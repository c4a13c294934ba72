"""The way back through one's own work: what was done before, what was said of an item earlier, and what reviewers said of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import STANDING, Annotation, Review
from app.comparisons.models import Assignment, AssignmentState
from app.kernel.locales import N_

NOTHING = N_("Nothing to undo: you have not judged or skipped anything before this.")


def step_back(session: Session, user: User, before: int | None = None) -> int | None:
    """The assignment that ``user`` judged or skipped last or, with ``before``, the one before that assignment.

    Of an item that was judged the time of the judgement that counts is taken; of ``before`` its last judgement or skip, even
    where that is undone. Each branch reads one row of an index, however much somebody has done.
    """
    judged = select(Annotation.assignment_id.label("assignment"), Annotation.created_at.label("at")).where(
        Annotation.annotator_id == user.id, STANDING
    )
    skipped = select(Assignment.id.label("assignment"), Assignment.skipped_at.label("at")).where(
        Assignment.annotator_id == user.id,
        Assignment.state == AssignmentState.SKIPPED,
        Assignment.skipped_at.is_not(None),
    )
    if before is not None:
        done_at = _done_at(session, user, before)
        if done_at is None:
            return None
        here = tuple_(literal(done_at), literal(before, BigInteger))
        judged = judged.where(tuple_(Annotation.created_at, Annotation.assignment_id) < here)
        skipped = skipped.where(tuple_(Assignment.skipped_at, Assignment.id) < here)
    judged = judged.order_by(Annotation.created_at.desc(), Annotation.assignment_id.desc()).limit(1)
    skipped = skipped.order_by(Assignment.skipped_at.desc(), Assignment.id.desc()).limit(1)
    both = union_all(judged, skipped).subquery()
    return session.scalar(select(both.c.assignment).order_by(both.c.at.desc(), both.c.assignment.desc()).limit(1))


def _done_at(session: Session, user: User, assignment_id: int) -> datetime | None:
    """When an item of ``user``'s was judged or skipped last; None where it never was, or is somebody else's."""
    mine = select(Assignment.comparison_id, Assignment.skipped_at)
    found = session.execute(
        mine.where(Assignment.id == assignment_id, Assignment.annotator_id == user.id)
    ).one_or_none()
    if found is None:
        return None
    # by comparison, because annotations have no index by assignment that knows those taken back
    judged = select(Annotation.created_at).where(
        Annotation.comparison_id == found.comparison_id,
        Annotation.assignment_id == assignment_id,
        Annotation.superseded_by_id.is_(None),
    )
    return max([*session.scalars(judged), *([found.skipped_at] if found.skipped_at else [])], default=None)


def earlier(session: Session, assignment_id: int, before: int) -> Sequence[Annotation]:
    """What the same person had said of the item before they corrected it to annotation ``before``, the latest first."""
    query = select(Annotation).where(
        # as above: annotations that were superseded are found by comparison
        Annotation.comparison_id
        == select(Assignment.comparison_id).where(Assignment.id == assignment_id).scalar_subquery(),
        Annotation.assignment_id == assignment_id,
        Annotation.id < before,
        Annotation.superseded_by_id.is_not(None),
        Annotation.withdrawn_at.is_(None),
    )
    return session.scalars(query.order_by(Annotation.id.desc())).all()


def reviews_of(session: Session, annotation_id: int) -> Sequence[tuple[Review, str]]:
    """What reviewers said of an annotation, oldest first, with their names."""
    rows = session.execute(
        select(Review, User.name)
        .join(User, User.id == Review.reviewer_id)
        .where(Review.annotation_id == annotation_id)
        .order_by(Review.id)
    )
    return [(review, name) for review, name in rows]
