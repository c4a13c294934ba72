"""Reads of orders. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.prompts.models import Batch
from app.prompts.queries import STAFF
from app.registry.models import Checkpoint, CheckpointKind, External
from app.synthesis.models import Synthesis, SynthesisRow

SHOWN_ROWS = 100


def access_synthesis(session: Session, user: User, synthesis_id: int) -> Synthesis:
    """An order with its batch and its model, for reviewers and admins."""
    loads = [joinedload(Synthesis.batch), joinedload(Synthesis.asks)]
    found = session.get(Synthesis, synthesis_id, options=loads) if user.role in STAFF else None
    if found is None:
        raise NotFound
    return found


def loaded(session: Session, synthesis: Synthesis) -> Synthesis:
    """The same with its batch and its model, as they are now."""
    loads = [joinedload(Synthesis.batch), joinedload(Synthesis.asks)]
    return session.get_one(Synthesis, synthesis.id, options=loads, populate_existing=True)


def list_syntheses(session: Session, *, before: int | None = None, limit: int = 25) -> Page[Synthesis]:
    """Orders, newest first, each with its batch and its model."""
    query = select(Synthesis).options(joinedload(Synthesis.batch), joinedload(Synthesis.asks))
    return read_page(session, query, Order(Synthesis.id), before, limit)


def left_out(session: Session, synthesis: Synthesis, *, limit: int = SHOWN_ROWS) -> list[SynthesisRow]:
    """The first numbers of an order that gave no prompt, with their reasons."""
    query = select(SynthesisRow).where(SynthesisRow.synthesis_id == synthesis.id, SynthesisRow.reason.is_not(None))
    return list(session.scalars(query.order_by(SynthesisRow.number).limit(limit)))


def writers(session: Session) -> list[tuple[str, bool]]:
    """The external models that somebody serves, by name, and whether their answers may be trained on."""
    query = (
        select(Checkpoint.name, External.may_train)
        .join(External)
        .where(Checkpoint.kind == CheckpointKind.EXTERNAL, External.endpoint != "")
        .order_by(Checkpoint.name)
    )
    return [(name, may) for name, may in session.execute(query)]


def batches(session: Session, user: User) -> list[tuple[int, str]]:
    """Batches whose prompts may be translated, newest first; for admins, who alone order."""
    if user.role is not Role.ADMIN:
        raise NotFound
    return [(key, name) for key, name in session.execute(select(Batch.id, Batch.name).order_by(Batch.id.desc()))]
