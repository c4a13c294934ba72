"""Acts of the desk: many annotations reviewed or retracted at once, the judgement of an item that holds, and views that are kept.

Whoever acts on many rows says of each which review was its latest when they looked. A row that has changed since is left as it is
and named with the reason; the others are done in one transaction, or none of them. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role, User
from app.annotations.models import Adjudication, Annotation, Decision, Review
from app.comparisons.claims import in_work, mark_read
from app.comparisons.models import Comparison, Purpose
from app.desk.models import DeskView
from app.desk.queries import AT_ONCE, latest_review
from app.kernel.errors import Conflict, Forbidden, NotFound, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_, ngettext, number
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.lineage import service as lineage
from app.prompts.models import Batch, BatchState

NAMED = 20
"""Rows that are named one by one where they were left as they were."""
VIEWS = 50
"""Views that a person keeps at most."""
VIEW_NAME, VIEW_FILTERS = 80, 2_000
REASON_LIMIT = 2_000


class Act(StrEnum):
    """What can be done with many at once."""

    ACCEPT = "accept"
    RETURN = "return"
    RETRACT = "retract"
    ASSIGN = "assign"
    """Their items to somebody, for a further judgement."""
    UNASSIGN = "unassign"

    def done(self, count: int, to: str = "") -> str:
        """What was done, of so many; ``to``: whom they were assigned to."""
        if self is Act.ASSIGN:
            return ngettext(
                "Assigned the item of {n} annotation to {to}.",
                "Assigned the items of {n} annotations to {to}.",
                count,
                to=to,
            )
        if self is Act.UNASSIGN:
            return ngettext("Took back the item of {n} annotation.", "Took back the items of {n} annotations.", count)
        if self is Act.ACCEPT:
            return ngettext("Accepted {n} annotation.", "Accepted {n} annotations.", count)
        if self is Act.RETURN:
            return ngettext("Returned {n} annotation.", "Returned {n} annotations.", count)
        return ngettext("Retracted {n} annotation.", "Retracted {n} annotations.", count)


GONE = N_("there is none with this id")
CHANGED = N_("corrected or undone meanwhile")
RETRACTED = N_("retracted meanwhile")
REVIEWED = N_("reviewed meanwhile")
WORKED_ON = N_("you are judging the item yourself")
OWN = N_("your own judgement")
CLOSED = N_("the batch is closed")


@dataclass(frozen=True, slots=True)
class Pick:
    """A row that was chosen."""

    id: int
    seen: int
    """Its latest review at that time; 0 where there was none."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an act on many."""

    act: Act
    done: list[int] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    """Why each of the others was left as it is."""
    to: str = ""
    """Whom items were assigned to."""

    def said(self) -> str:
        """The same in words, the rows that were left out by name."""
        text = self.act.done(len(self.done), self.to)
        if not self.left:
            return text
        by_reason = sorted(self.left.items(), key=lambda each: (each[1], each[0]))
        groups = [
            f"{_listed([each[0] for each in group])} ({_(why)})"
            for why, group in groupby(by_reason, key=lambda each: each[1])
        ]
        return text + " " + _("Left as they were: {rows}.", rows=", ".join(groups))


def review_many(session: Session, staff: User, act: Act, picks: Sequence[Pick], note: str = "") -> Done:
    """Accept or return the annotations of ``picks``, as far as they are as they were when they were chosen.

    Done again, it finds its own reviews and adds none.

    Raises:
        BadInput: returned without a note, nothing chosen, or too much.
    """
    verdict = Decision.RETURNED if act is Act.RETURN else Decision.ACCEPTED
    note = note.strip() if act is Act.RETURN else ""
    if act is Act.RETURN and not note:
        raise refused("note", _("Write what to look at again."))
    rows = locked(session, staff, picks)
    mine = {"reviewer_id": staff.id, "verdict": verdict, "note": note}
    found, new = Done(act), []
    for pick in picks:
        row = rows.get(pick.id)
        if row is not None and _is_repeated(row, pick, mine):
            found.done.append(pick.id)
        elif (why := why_not(staff, act, row, pick)) is not None:
            found.left[pick.id] = why
        else:
            new.append(pick.id)
    if new:
        session.execute(insert(Review), [{"annotation_id": key, **mine} for key in new])
    for key in new:
        accounts.audit(session, staff, f"annotation.{verdict.value}", "annotation", key)
    note_read(session, staff, rows, [*new, *found.done])
    found.done.extend(new)
    session.flush()
    return found


def retract_many(session: Session, staff: User, picks: Sequence[Pick], reason: str) -> Done:
    """Retract the annotations of ``picks``, each by a retraction of its own, as far as they are as they were.

    Raises:
        BadInput: no reason, nothing chosen, or too much.
        Forbidden: not an admin.
    """
    if staff.role is not Role.ADMIN:
        raise Forbidden(_("Only admins retract annotations."))
    rows = locked(session, staff, picks)
    why = {pick.id: why_not(staff, Act.RETRACT, rows.get(pick.id), pick) for pick in picks}
    found = Done(Act.RETRACT, [key for key, left in why.items() if left is None])
    found.left.update({key: left for key, left in why.items() if left is not None})
    if found.done:
        lineage.retract_each(session, staff, found.done, reason)
    note_read(session, staff, rows, found.done)
    return found


def adjudicate(session: Session, staff: User, annotation: Annotation, reason: str) -> Adjudication:
    """Make ``annotation`` the judgement of its item that holds: the others do not count from now on.

    Raises:
        BadInput: no reason.
        Conflict: it does not stand any more, is retracted or the reviewer's own, or its item has a known answer.
    """
    reason = reason.strip()
    if not reason:
        raise refused("reason", _("Give the reason: it is kept with the decision and in the audit log."))
    if annotation.annotator_id == staff.id:
        raise Conflict(_("This is your own judgement: somebody else must settle on it."))
    if session.get_one(Comparison, annotation.comparison_id).purpose is Purpose.GOLD:
        raise Conflict(
            _("This item has a known answer, and its judgements measure annotators: none of them is left out.")
        )
    wait_for_turn(session, lineage.TURN)
    session.execute(select(Annotation.id).where(Annotation.id == annotation.id).with_for_update(key_share=True))
    session.refresh(annotation, ["superseded_by_id", "withdrawn_at", "retraction_id"])
    if annotation.superseded_by_id is not None or annotation.withdrawn_at is not None:
        raise Conflict(_("This judgement has since been corrected or undone: look at the current one."))
    if annotation.retraction_id is not None:
        raise Conflict(_("This judgement was retracted by an admin: it is no longer used."))
    end_adjudication(session, staff, annotation.comparison_id, replaced=True)
    made = Adjudication(
        comparison_id=annotation.comparison_id, annotation_id=annotation.id, reason=reason, adjudicator_id=staff.id
    )
    session.add(made)
    session.flush()
    accounts.audit(session, staff, "annotation.adjudicated", "annotation", annotation.id, reason=reason)
    enqueue(session, Job.ADVANCE_ROUND)  # contests are counted anew
    return made


def end_adjudication(session: Session, staff: User, comparison_id: int, *, replaced: bool = False) -> bool:
    """Let all judgements of an item count again; whether one held until now."""
    ended = session.scalar(
        update(Adjudication)
        .where(Adjudication.comparison_id == comparison_id, Adjudication.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .returning(Adjudication.annotation_id)
        .execution_options(synchronize_session=False)
    )
    if ended is not None and not replaced:
        accounts.audit(session, staff, "annotation.adjudication_ended", "annotation", ended)
        enqueue(session, Job.ADVANCE_ROUND)
    return ended is not None


def keep_view(session: Session, user: User, name: str, filters: str) -> DeskView:
    """Keep ``filters`` under ``name``; the same name again is the same view with the new filters.

    Raises:
        BadInput: no name, or too many views.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= VIEW_NAME or not name.isprintable():
        raise refused("name", _("A name has 1 to {most} printable characters.", most=VIEW_NAME))
    if len(filters) > VIEW_FILTERS:
        raise refused("filters", _("The filters of a view have at most {most} characters.", most=number(VIEW_FILTERS)))
    wait_for_turn(session, f"desk_views:{user.id}")
    mine = select(DeskView).where(DeskView.user_id == user.id)
    found = session.scalars(mine.where(DeskView.name == name)).one_or_none()
    if found is None:
        if (session.scalar(select(func.count()).select_from(mine.subquery())) or 0) >= VIEWS:
            raise refused("name", _("You have saved {most} views, the maximum: delete one first.", most=VIEWS))
        found = DeskView(user_id=user.id, name=name)
        session.add(found)
    found.filters = filters
    session.flush()
    session.refresh(found)
    return found


def delete_view(session: Session, user: User, view_id: int) -> None:
    """Forget a view.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    mine = (DeskView.id == view_id) & (DeskView.user_id == user.id)
    if session.scalar(delete(DeskView).where(mine).returning(DeskView.id)) is None:
        raise NotFound


def check_number(picks: Sequence[Pick]) -> None:
    """Refuse none, and too many.

    Raises:
        BadInput: so it is.
    """
    if not picks:
        raise refused("rows", _("Select at least one annotation."))
    if len(picks) > AT_ONCE:
        raise refused("rows", _("At most {most} annotations can be selected at once.", most=number(AT_ONCE)))


def locked(session: Session, staff: User, picks: Sequence[Pick]) -> Mapping[int, Any]:
    """The rows of ``picks`` by id, locked in the order of their ids: nothing corrects or retracts one of them meanwhile."""
    check_number(picks)
    ids = [pick.id for pick in picks]
    wait_for_turn(session, lineage.TURN)
    lock = select(Annotation.id).where(Annotation.id.in_(ids)).order_by(Annotation.id)
    session.execute(lock.with_for_update(key_share=True)).all()
    # read once the locks are held: what was waited for is seen
    query = (
        select(
            Annotation.id,
            Annotation.annotator_id,
            (Annotation.superseded_by_id.is_not(None) | Annotation.withdrawn_at.is_not(None)).label("changed"),
            Annotation.retraction_id,
            Annotation.comparison_id,
            Comparison.prompt_id,
            Comparison.prompt_id.in_(in_work(staff.id)).label("worked_on"),
            Batch.state.label("batch_state"),
            func.coalesce(Review.id, 0).label("seen"),
            Review.reviewer_id,
            Review.verdict,
            Review.note,
        )
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .outerjoin(Review, Review.id == latest_review)
        .where(Annotation.id.in_(ids))
    )
    return {row.id: row for row in session.execute(query)}


def _is_repeated(row: Any, pick: Pick, mine: Mapping[str, object]) -> bool:
    """Whether the same person has done the same already, since they chose the row."""
    return row.seen > pick.seen and all(getattr(row, name) == value for name, value in mine.items())


def why_not(staff: User, act: Act, row: Any, pick: Pick) -> str | None:
    """Why a row is left as it is; None where it is not."""
    if row is None:
        return GONE
    reasons = {
        CHANGED: row.changed,
        RETRACTED: act is not Act.ASSIGN and row.retraction_id is not None,  # what it said may be asked anew
        REVIEWED: row.seen != pick.seen,
        OWN: act is Act.ACCEPT and row.annotator_id == staff.id,
        CLOSED: act is Act.RETURN and row.batch_state is BatchState.CLOSED,
        WORKED_ON: row.worked_on,
    }
    return next((why for why, holds in reasons.items() if holds), None)


def note_read(session: Session, staff: User, rows: Mapping[int, Any], ids: Sequence[int]) -> None:
    """Whoever acts on a judgement knows of it."""
    mark_read(session, staff.id, (rows[key].prompt_id for key in ids if rows[key].annotator_id != staff.id))


def _listed(ids: Sequence[int]) -> str:
    named = [str(each) for each in ids[:NAMED]]
    if len(ids) > NAMED:
        return _("{ids} and {n} more", ids=", ".join(named), n=len(ids) - NAMED)
    return named[0] if len(named) == 1 else _("{ids} and {last}", ids=", ".join(named[:-1]), last=named[-1])
