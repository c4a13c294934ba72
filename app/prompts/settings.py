"""Changing a batch while people work on it: what is safe at any time, and what only before the first annotation."""

from __future__ import annotations

from sqlalchemy import literal, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.db import Base
from app.errors import Conflict
from app.prompts.forms import BatchChange
from app.prompts.guidelines import rewrite
from app.prompts.models import Batch, BatchKind, BatchState

SHARED = ("verify_percent", "gold_percent", "qualification_items")
NUMBERS = (*SHARED, "qualification_percent")


def change(session: Session, user: User, batch: Batch, wanted: BatchChange) -> None:
    """Take over what ``wanted`` names; the values before stay in the audit trail.

    Raises:
        Conflict: other attributes, and somebody has annotated by the present ones; or known answers among dialogues.
    """
    session.refresh(batch, with_for_update=True)
    if batch.kind is BatchKind.DIALOGUE and any(getattr(wanted, name) for name in SHARED):
        raise Conflict(
            "A turn of a dialogue is met by its annotator alone: it is not verified, and has no known answer."
        )
    before: dict[str, object] = {}
    after = {name: getattr(wanted, name) for name in NUMBERS}
    if wanted.attributes is not None:
        after["attributes"] = [each.model_dump() for each in wanted.attributes]
    for name, value in after.items():
        if value is not None and value != getattr(batch, name):
            before[name] = getattr(batch, name)
    if "attributes" in before:
        _check_unused(session, batch)
    for name in before:
        setattr(batch, name, after[name])
    if before:
        audit(session, user, "batch.settings", "batch", batch.id, before=before)
    session.flush()
    if wanted.guidelines is not None or wanted.strength_examples is not None:
        text = batch.guidelines if wanted.guidelines is None else wanted.guidelines
        rewrite(session, user, batch, text, wanted.strength_examples)


def _check_unused(session: Session, batch: Batch) -> None:
    """Nobody has judged by the present attributes, and nobody is about to: a submit would not see the new ones."""
    comparisons = Base.metadata.tables["comparisons"].c  # found by name at run time: the table lies above
    of_batch = comparisons.batch_id == batch.id
    if session.scalar(select(literal(1)).where(of_batch, comparisons.annotators_done > 0).limit(1)):
        raise Conflict("People have annotated this batch already, so its attributes stay as they are.")
    at_work = comparisons.purpose == "collect", comparisons.seats_free < comparisons.annotators_wanted
    if batch.state is BatchState.OPEN and session.scalar(select(literal(1)).where(of_batch, *at_work).limit(1)):
        raise Conflict("Somebody is at work on this batch: pause it, then change its attributes.")
