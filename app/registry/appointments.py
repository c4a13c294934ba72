"""Who is base, champion, previous and challenger of a loop: rows that only the acts of :mod:`app.registry.service` change.

The champion is a pointer. A verdict moves it; what is loaded, deployed or newest does not. It falls back, to the one before
and then to the base, only where its files broke or another base model retired it.

Whoever writes here holds the turn (:func:`take_turn`), so two changes come one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.loops.models import FIRST_LOOP, Loop
from app.registry.models import Appointment, Checkpoint, CheckpointKind, CheckpointState, LoopRole


def appointed(session: Session, role: LoopRole) -> Checkpoint | None:
    """The checkpoint in this role; the base is the champion while there is no other."""
    found = session.scalar(
        select(Checkpoint)
        .join(Appointment, Appointment.checkpoint_id == Checkpoint.id)
        .where(Appointment.loop_id == FIRST_LOOP, Appointment.role == role)
    )
    if found is None and role in {LoopRole.BASE, LoopRole.CHAMPION}:  # nothing has been deployed yet
        return session.scalar(
            select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE, Checkpoint.state == CheckpointState.READY)
        )
    return found


def roles(session: Session) -> dict[LoopRole, int]:
    """The id of the checkpoint in each role that somebody has."""
    query = select(Appointment.role, Appointment.checkpoint_id).where(Appointment.loop_id == FIRST_LOOP)
    return dict(session.execute(query).all())


def take_turn(session: Session) -> None:
    """Wait until nobody else appoints. To be taken before the locks on the rotation, so that no two wait for each other."""
    session.execute(select(Loop.id).where(Loop.id == FIRST_LOOP).with_for_update(key_share=True))


def appoint(session: Session, wanted: Mapping[LoopRole, int | None]) -> None:
    """Write down who has each of these roles, None: nobody; the others stay as they are."""
    query = select(Appointment).where(Appointment.loop_id == FIRST_LOOP)
    held = {row.role: row for row in session.scalars(query.execution_options(populate_existing=True))}
    for role, checkpoint_id in wanted.items():
        row = held.get(role)
        if checkpoint_id is None:
            if row is not None:
                session.delete(row)
        elif row is None:
            session.add(Appointment(loop_id=FIRST_LOOP, role=role, checkpoint_id=checkpoint_id))
        elif row.checkpoint_id != checkpoint_id:
            row.checkpoint_id, row.since = checkpoint_id, func.now()
    session.flush()


def settle(session: Session) -> None:
    """Let whoever cannot serve any more fall out of its role, and the next in line take the champion's."""
    held = roles(session)
    ready = select(Checkpoint.id).where(Checkpoint.state == CheckpointState.READY)
    base = session.scalar(ready.where(Checkpoint.kind == CheckpointKind.BASE))
    able = set(session.scalars(ready.where(Checkpoint.id.in_(held.values()))))
    sound = {role: checkpoint for role, checkpoint in held.items() if checkpoint in able}
    champion = sound.get(LoopRole.CHAMPION, sound.get(LoopRole.PREVIOUS, base))
    others = {role: sound.get(role) for role in (LoopRole.PREVIOUS, LoopRole.CHALLENGER)}
    appoint(
        session,
        {LoopRole.BASE: base, LoopRole.CHAMPION: champion}
        | {role: None if checkpoint == champion else checkpoint for role, checkpoint in others.items()},
    )
