"""What can be sampled: checkpoints, their place in the rotation, and what the engine last said of itself."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Created, Json, Key, Time, enum_column


class CheckpointKind(StrEnum):
    """What a checkpoint is for."""

    BASE = "base"
    REWARD = "reward"
    SFT = "sft"
    POLICY = "policy"


class CheckpointState(StrEnum):
    """``ready``: its manifest verified. ``broken``: a file no longer matches the manifest; never served or resumed from."""

    READY = "ready"
    BROKEN = "broken"
    RETIRED = "retired"


class Checkpoint(Base):
    """Saved state on disk with its manifest. ``name`` is immutable and is what the engine serves it as."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        CheckConstraint("kind = 'base' OR manifest_sha256 IS NOT NULL", name="manifest_known"),
        Index("uq_checkpoints_base", "kind", unique=True, postgresql_where=text("kind = 'base' AND state = 'ready'")),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[CheckpointKind] = mapped_column(enum_column(CheckpointKind, "kind"))
    state: Mapped[CheckpointState] = mapped_column(enum_column(CheckpointState, "state"), default=CheckpointState.READY)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    path: Mapped[str]
    """A folder (or, for the base, a hub id)."""
    manifest_sha256: Mapped[str | None] = mapped_column(String(64))
    weights_mark: Mapped[str | None] = mapped_column(String(64))
    """Of a base in a folder: two models may have one name, and the adapters of one fit no other."""
    metrics: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    broken_reason: Mapped[str | None]
    created_at: Mapped[Created]


class LoadState(StrEnum):
    """Where the engine stands with a deployment: the database wishes, the reconciler makes it so."""

    PENDING = "pending"
    LOADED = "loaded"
    FAILED = "failed"


class Deployment(Base):
    """A checkpoint with its sampling in the rotation, from ``since`` until ``ended_at``; candidates name it."""

    __tablename__ = "deployments"
    __table_args__ = (
        CheckConstraint("share > 0", name="share_positive"),
        Index(
            "uq_deployments_in_rotation",
            "checkpoint_id",
            "label",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Key]
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    label: Mapped[str] = mapped_column(String(40))
    """Tells two samplings of one checkpoint apart, e.g. ``focused`` and ``varied``."""
    sampling: Mapped[Json]
    """``temperature``, ``top_p``; what a batch does not override."""
    share: Mapped[float] = mapped_column(server_default="1")
    load_state: Mapped[LoadState] = mapped_column(enum_column(LoadState, "load_state"), default=LoadState.PENDING)
    load_error: Mapped[str | None]
    replaces: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default=text("'{}'"), default=list)
    """Deployments that leave the rotation once this one is loaded: until then, and if it never loads, they stay."""
    since: Mapped[Created]
    ended_at: Mapped[Time | None]

    checkpoint: Mapped[Checkpoint] = relationship(lazy="raise")


class EngineState(StrEnum):
    """What the last probe (a one-token completion, since ``/health`` answers even when the engine hangs) found."""

    STARTING = "starting"
    READY = "ready"
    AWAY = "away"


class EngineStatus(Base):
    """One row per engine URL: what the last probe found. Pages say so when the engine is away."""

    __tablename__ = "engine_status"

    url: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[EngineState] = mapped_column(enum_column(EngineState, "state"))
    version: Mapped[str | None]
    models: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    error: Mapped[str | None]
    changed_at: Mapped[Created]
    checked_at: Mapped[Created]
