"""The guidelines of a batch by version: who may read them, what was changed, and who has seen what.

Every change is a new version; a text that is saved unchanged is none. Who gets a first item of a batch is counted as having
read what stood there then, so that only later changes are announced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.kernel.errors import NotFound
from app.prompts.models import Batch, BatchState, GuidelineReading, GuidelineVersion

HISTORY = 50
"""Versions that are listed, the newest."""

_newcomer = (
    insert(GuidelineReading)
    .from_select(
        ["batch_id", "user_id", "version"],
        select(Batch.id, cast(bindparam("reader"), BigInteger), Batch.guidelines_version).where(
            Batch.id == bindparam("batch")
        ),
    )
    .on_conflict_do_nothing()
)
_changed = (
    select(GuidelineReading.version, Batch.guidelines_version)
    .join(Batch, Batch.id == GuidelineReading.batch_id)
    .where(
        GuidelineReading.batch_id == bindparam("batch"),
        GuidelineReading.user_id == bindparam("reader"),
        GuidelineReading.version < Batch.guidelines_version,
    )
)


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def keep_version(session: Session, batch: Batch, user: User | None) -> None:
    """Keep what the guidelines of ``batch`` say under their version; kept already, nothing happens."""
    kept = insert(GuidelineVersion).values(
        batch_id=batch.id,
        version=batch.guidelines_version,
        guidelines=batch.guidelines,
        strength_examples=batch.strength_examples,
        written_by_id=user.id if user else None,
    )
    session.execute(kept.on_conflict_do_nothing(index_elements=["batch_id", "version"]))


def rewrite(
    session: Session, user: User, batch: Batch, guidelines: str, strength_examples: Mapping[Any, str] | None = None
) -> bool:
    """Replace the guidelines and, where given, the examples; whether that made a new version."""
    session.refresh(batch, with_for_update=True)
    examples = batch.strength_examples if strength_examples is None else dict(strength_examples)
    if (guidelines, examples) == (batch.guidelines, batch.strength_examples):
        return False
    keep_version(session, batch, None)
    version = batch.guidelines_version + 1
    audit(session, user, "batch.guidelines", "batch", batch.id, before=batch.guidelines, version=version)
    batch.guidelines, batch.strength_examples, batch.guidelines_version = guidelines, examples, version
    session.flush()
    keep_version(session, batch, user)
    return True


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def meet(session: Session, user_id: int, batch_id: int) -> None:
    """Mark the current guidelines as read by a person who starts on a batch; nothing changes for others."""
    session.connection().execute(_newcomer, {"reader": user_id, "batch": batch_id})


def changed(session: Session, user: User, batch_id: int) -> tuple[int, int] | None:
    """The version that ``user`` has read and the current one, where they differ. One look-up by key."""
    row = session.connection().execute(_changed, {"reader": user.id, "batch": batch_id}).one_or_none()
    return (row[0], row[1]) if row else None


def changed_batches(session: Session, user: User) -> list[tuple[int, str, int, int]]:
    """Open batches whose guidelines changed since ``user`` read them: id, name, version read, current version."""
    query = (
        select(Batch.id, Batch.name, GuidelineReading.version, Batch.guidelines_version)
        .join(GuidelineReading, GuidelineReading.batch_id == Batch.id)
        .where(
            GuidelineReading.user_id == user.id,
            Batch.state == BatchState.OPEN,
            GuidelineReading.version < Batch.guidelines_version,
        )
        .order_by(Batch.id)
    )
    return [(row[0], row[1], row[2], row[3]) for row in session.execute(query)]


def mark_read(session: Session, user: User, batch: Batch) -> None:
    """Note that ``user`` has read the current version."""
    read = insert(GuidelineReading).values(batch_id=batch.id, user_id=user.id, version=batch.guidelines_version)
    session.execute(
        read.on_conflict_do_update(
            index_elements=["batch_id", "user_id"],
            set_={
                "version": func.greatest(GuidelineReading.version, read.excluded.version),
                "read_at": func.now(),
            },
        )
    )


def history(session: Session, batch: Batch) -> list[tuple[GuidelineVersion, str | None]]:
    """The versions, newest first, each with the name of who wrote it."""
    query = (
        select(GuidelineVersion, User.name)
        .outerjoin(User, User.id == GuidelineVersion.written_by_id)
        .where(GuidelineVersion.batch_id == batch.id)
        .order_by(GuidelineVersion.version.desc())
        .limit(HISTORY)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def version_of(session: Session, batch: Batch, version: int) -> GuidelineVersion:
    """One version; :class:`NotFound` where there is none."""
    query = select(GuidelineVersion).where(GuidelineVersion.batch_id == batch.id, GuidelineVersion.version == version)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotFound
    return found
