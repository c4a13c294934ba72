"""Frozen exports. Preferences themselves are never stored: they are derived from annotations when exported."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Json, Key, enum_column
from app.kernel.locales import N_
from app.kernel.worded import Worded


class SnapshotState(Worded):
    """A snapshot exists on disk only when ``ready``: it is written aside, hashed and renamed."""

    BUILDING = N_("building")
    READY = N_("ready")
    FAILED = N_("failed")
    ERASED = N_("erased")
    """It held what an erased person wrote, so its folder goes; the row and its hash stay for the lineage."""


class Snapshot(Base):
    """A frozen, hashed export that a training run names."""

    __tablename__ = "snapshots"
    __table_args__ = (CheckConstraint("(state IN ('ready', 'erased')) = (sha256 IS NOT NULL)", name="ready_is_hashed"),)

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    state: Mapped[SnapshotState] = mapped_column(enum_column(SnapshotState, "state"), default=SnapshotState.BUILDING)
    filter: Mapped[Json]
    """Which annotations: batch ids, rounds, ``until`` (an annotation id)."""
    rows: Mapped[int | None]
    train_rows: Mapped[int | None]
    held_out_rows: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    path: Mapped[str | None]
    error: Mapped[str | None]
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class SnapshotAnnotation(Base):
    """Which annotations a snapshot holds: the lineage that a retraction follows."""

    __tablename__ = "snapshot_annotations"
    __table_args__ = (Index(None, "annotation_id"),)

    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True)
