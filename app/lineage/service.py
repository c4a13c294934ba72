"""Retracting and restoring: admins remove annotations from exports, training and contests. Nothing here commits.

A retraction is a row with its reason, and the annotations that it took out point at it. Nothing is deleted, so the lineage
still finds what they went into; what is marked because of it is derived (:mod:`app.lineage.marks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, Select, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from app.accounts import service as accounts
from app.accounts.models import User
from app.annotations.models import Annotation, Retraction, RetractionScope
from app.kernel.errors import Conflict, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.locks import wait_for_turn
from app.kernel.storable import flaw
from app.lineage import erasing, targets
from app.lineage.targets import Target

REASON_LIMIT = 2_000
TURN = "retractions"
"""Of all acts that lock the rows of several annotations (:func:`app.kernel.locks.wait_for_turn`)."""


def retract(
    session: Session, actor: User | None, scope: RetractionScope, target_id: int, reason: str, *, erase: bool = False
) -> Retraction:
    """Take out what ``target_id`` names, and with ``erase`` also what the person wrote; ``actor`` is None at the command line.

    Raises:
        NotFound: there is no such target.
        BadInput: no reason was given, or something else than a person is to be erased.
        Conflict: nothing of it is left to retract, or it cannot be erased now.
    """
    reason = _checked(reason)
    if erase and scope is not RetractionScope.PERSON:
        raise refused("erase", _("Only a person can be erased: retract this, or erase the person who wrote it."))
    target = targets.find(session, scope, target_id)
    # one at a time: two that overlap would each wait for rows of the other
    wait_for_turn(session, TURN)
    made = Retraction(
        scope=scope,
        target_id=target_id,
        reason=reason,
        annotations=0,
        erased=erase,
        created_by_id=actor.id if actor else None,
    )
    session.add(made)
    session.flush()
    if erase:
        erasing.drop_drafts(session, target_id)  # before the annotations: a submission takes its locks in this order
    made.annotations = _take_out(session, target, made)
    if not made.annotations and not erase:
        raise Conflict(
            _("There is nothing to retract: no annotation of {what} is left that is not retracted.", what=target.words)
        )
    if erase:
        erasing.erase(session, actor, target_id)
    # not when the transaction began: it may have waited, and what was frozen meanwhile may hold what it took out
    made.created_at = func.clock_timestamp()
    accounts.audit(
        session, actor, "retraction.make", scope.value, target_id, retraction=made.id, annotations=made.annotations
    )
    if erase:
        accounts.audit(session, actor, "person.erase", "user", target_id, retraction=made.id)
    enqueue(session, Job.ADVANCE_ROUND)  # contests are counted anew
    session.flush()
    session.refresh(made)
    return made


def retract_each(session: Session, actor: User, ids: Sequence[int], reason: str) -> None:
    """Take out annotations ``ids``, each by a retraction of its own; the caller has the turn, and has checked that each is left.

    Raises:
        BadInput: no reason was given.
    """
    reason = _checked(reason)
    values = {"scope": RetractionScope.ANNOTATION, "reason": reason, "annotations": 0, "created_by_id": actor.id}
    made = session.scalars(
        insert(Retraction).returning(Retraction.id, sort_by_parameter_order=True),
        [values | {"target_id": key} for key in ids],
    ).all()
    # all versions of each judgement: by comparison, because those corrected since have no index by assignment
    version = aliased(Annotation)
    of_each = (
        select(Retraction.id.label("retraction"), version.assignment_id, version.comparison_id)
        .join(version, version.id == Retraction.target_id)
        .where(Retraction.id.in_(made))
        .subquery()
    )
    taken = session.scalars(
        update(Annotation)
        .where(Annotation.comparison_id == of_each.c.comparison_id, Annotation.assignment_id == of_each.c.assignment_id)
        .where(Annotation.retraction_id.is_(None))
        .values(retraction_id=of_each.c.retraction)
        .returning(Annotation.retraction_id)
        .execution_options(synchronize_session=False)
    ).all()
    count, now = Counter(taken), _now(session)
    session.execute(update(Retraction), [{"id": key, "annotations": count[key], "created_at": now} for key in made])
    for key, target in zip(made, ids, strict=True):
        accounts.audit(session, actor, "retraction.make", "annotation", target, retraction=key, annotations=count[key])
    enqueue(session, Job.ADVANCE_ROUND)
    session.flush()


def restore(session: Session, actor: User | None, retraction: Retraction) -> int:
    """Bring back what ``retraction`` took out, and say how many rows that is.

    What a later retraction is about as well stays retracted, by that one.

    Raises:
        Conflict: it is restored already, or what was written was erased.
    """
    wait_for_turn(session, TURN)
    session.refresh(retraction, with_for_update=True)
    if retraction.erased:
        raise Conflict(_("It erased what the person wrote, so it cannot be restored."))
    if retraction.restored_at is not None:
        raise Conflict(_("This retraction has already been restored."))
    _hand_over(session, retraction)
    restored = _changed(
        session, update(Annotation).where(Annotation.retraction_id == retraction.id).values(retraction_id=None)
    )
    retraction.restored_at, retraction.restored_by_id = func.clock_timestamp(), actor.id if actor else None
    accounts.audit(
        session,
        actor,
        "retraction.restore",
        retraction.scope.value,
        retraction.target_id,
        retraction=retraction.id,
        annotations=restored,
    )
    enqueue(session, Job.ADVANCE_ROUND)
    session.flush()
    session.refresh(retraction)
    return restored


def left_of(target: Target) -> Select[int]:
    """The ids of what a retraction of ``target`` would take out: what no other one has taken out before."""
    return target.ids.where(Annotation.retraction_id.is_(None))


def _now(session: Session) -> datetime:
    """Not when the transaction began: it may have waited."""
    return cast("datetime", session.scalar(select(func.clock_timestamp())))


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise refused("reason", _("Give a reason: it is kept with the retraction and in the audit log."))
    if len(reason) > REASON_LIMIT:
        raise refused("reason", _("A reason has at most {most} characters.", most=number(REASON_LIMIT)))
    wrong = flaw(reason)
    if wrong:
        raise refused("reason", _("A reason cannot contain {what}.", what=wrong))
    return reason


def _take_out(session: Session, target: Target, retraction: Retraction) -> int:
    """Point the annotations of ``target`` at ``retraction``; again, until a correction that came meanwhile is in too."""
    total = 0
    while found := _changed(session, _pointing(left_of(target), retraction)):
        total += found
    return total


def _pointing(ids: Select[int], retraction: Retraction) -> Any:
    return (
        update(Annotation)
        .where(Annotation.id.in_(ids), Annotation.retraction_id.is_(None))  # asked again of a row that was waited for
        .values(retraction_id=retraction.id)
    )


def _hand_over(session: Session, restored: Retraction) -> None:
    """Point what a later retraction in force is about as well at that one."""
    later = aliased(Retraction)
    in_force = (
        select(func.min(later.id))
        .where(
            later.id > restored.id,
            later.restored_at.is_(None),
            later.created_at >= Annotation.created_at,
            targets.belongs_to(later),
        )
        .correlate(Annotation)
        .scalar_subquery()
    )
    moved = session.execute(
        update(Annotation)
        .where(Annotation.retraction_id == restored.id, in_force.is_not(None))
        .values(retraction_id=in_force)
        .returning(Annotation.retraction_id)
        .execution_options(synchronize_session=False)
    ).scalars()
    for key in moved.all():
        session.get_one(Retraction, key, populate_existing=True).annotations += 1
        session.flush()


def _changed(session: Session, statement: Any) -> int:
    done = session.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", done).rowcount
