"""All judgements of an item side by side: in the letters of the one that was opened, with their history and their reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.annotations import history
from app.annotations.models import OVERRULED, STANDING, Adjudication, Annotation, Review
from app.annotations.pages import WorkPage, work_page
from app.annotations.queries import Work, access_work
from app.annotations.recording import as_draft
from app.annotations.said import Before, EndedPage, said_before
from app.judgements.judgement import Draft
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.quality.queries import access_annotation

SIDE_BY_SIDE = 20
"""Judgements of one item that are shown; only items with a known answer have more."""


@dataclass(frozen=True)
class Told:
    """One judgement of the item."""

    annotation: Annotation
    draft: Draft
    said: EndedPage
    reviews: Sequence[tuple[Review, str]]
    earlier: Sequence[Before]
    """What its annotator had said before they corrected it, the latest first."""
    overruled: bool

    @property
    def seen(self) -> int:
        """Its latest review, 0 where there is none."""
        return max((review.id for review, _ in self.reviews), default=0)


@dataclass(frozen=True)
class Item:
    """An item with its judgements, the one that was opened first."""

    opened: Annotation
    work: Work
    page: WorkPage
    judgements: list[Told]
    adjudications: Sequence[tuple[Adjudication, str]]
    """Which judgement was said to hold, by whom; the latest first."""

    @property
    def holds(self) -> Adjudication | None:
        """The choice that is in force."""
        return next((each for each, _ in self.adjudications if each.ended_at is None), None)


def access_item(session: Session, reader: User, annotation_id: int) -> Item:
    """The item of an annotation, for staff, as long as the reader is not judging it. Shown is read.

    Raises:
        NotFound: no such annotation, it was corrected or undone since, or not for this reader.
    """
    opened = access_annotation(session, reader, annotation_id)
    work = access_work(session, opened.annotator, opened.assignment_id)
    if work.annotation_id != opened.id:
        raise NotFound(_("This judgement has since been corrected or undone."))
    page = work_page(work)
    rows = session.execute(
        select(Annotation, OVERRULED)
        .where(Annotation.comparison_id == opened.comparison_id, STANDING)
        .options(joinedload(Annotation.annotator))
        .order_by(Annotation.id != opened.id, Annotation.id)
        .limit(SIDE_BY_SIDE)
    ).all()
    return Item(
        opened=opened,
        work=work,
        page=page,
        judgements=[_told(session, page, opened.order_shown, each, overruled) for each, overruled in rows],
        adjudications=adjudications(session, opened.comparison_id),
    )


def adjudications(session: Session, comparison_id: int) -> list[tuple[Adjudication, str]]:
    """Which judgement of an item was said to hold, by whom; the latest first."""
    query = (
        select(Adjudication, User.name)
        .join(User, User.id == Adjudication.adjudicator_id)
        .where(Adjudication.comparison_id == comparison_id)
        .order_by(Adjudication.id.desc())
    )
    return [(made, name) for made, name in session.execute(query)]


def _told(session: Session, page: WorkPage, shown: Sequence[int], annotation: Annotation, overruled: bool) -> Told:  # noqa: FBT001 - only called above
    draft = as_draft(session, annotation, shown)
    earlier = [
        Before(each, said_before(page, as_draft(session, each, shown)), history.reviews_of(session, each.id))
        for each in history.earlier(session, annotation.assignment_id, annotation.id)
    ]
    reviews = history.reviews_of(session, annotation.id)
    return Told(annotation, draft, said_before(page, draft), reviews, earlier, overruled)
