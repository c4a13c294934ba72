"""Rounds and their training runs: collect → reward model → policy → serve."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Created, Json, Key, Time, enum_column
from app.preferences.models import Snapshot
from app.registry.models import Checkpoint


class RoundState(StrEnum):
    """``collecting`` → ``training`` → ``complete``; a failed or cancelled training goes back to ``collecting``."""

    COLLECTING = "collecting"
    TRAINING = "training"
    COMPLETE = "complete"


class Round(Base):
    """Groups batches and checkpoints. Exactly one round is not complete: the current one (a partial unique index)."""

    __tablename__ = "rounds"
    __table_args__ = (
        Index("uq_rounds_current", text("(true)"), unique=True, postgresql_where=text("state <> 'complete'")),
    )

    id: Mapped[Key]
    number: Mapped[int] = mapped_column(unique=True)
    state: Mapped[RoundState] = mapped_column(enum_column(RoundState, "state"), default=RoundState.COLLECTING)
    created_at: Mapped[Created]
    completed_at: Mapped[Time | None]


class RunKind(StrEnum):
    """What is trained, in this order; ``sft`` imitates the best of many samples, where an installation asks for it."""

    REWARD = "reward"
    SFT = "sft"
    DPO = "dpo"


class RunState(StrEnum):
    """``queued`` → ``running`` → ``succeeded`` | ``failed`` | ``cancelled``."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRun(Base):
    """One training subprocess: names its snapshot, streams its progress, ends in a checkpoint or a reason."""

    __tablename__ = "training_runs"
    __table_args__ = (
        CheckConstraint("(state = 'succeeded') = (checkpoint_id IS NOT NULL)", name="success_has_checkpoint"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failure_has_reason"),
        Index("ix_training_runs_live", "id", postgresql_where=text("state IN ('queued', 'running')")),
    )

    id: Mapped[Key]
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    kind: Mapped[RunKind] = mapped_column(enum_column(RunKind, "kind"))
    state: Mapped[RunState] = mapped_column(enum_column(RunState, "state"), default=RunState.QUEUED)
    snapshot_id: Mapped[int] = mapped_column(ForeignKey("snapshots.id"))
    after_run_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))
    """Starts when that run has succeeded; fails or is cancelled with it."""
    config: Mapped[Json]
    """What ``run.toml`` was written from."""
    step: Mapped[int] = mapped_column(default=0, server_default="0")
    total_steps: Mapped[int | None]
    baseline: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    metrics: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    heartbeat_at: Mapped[Time | None]
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often it was started since it last got further; one that keeps dying is given up with a reason."""
    cancel_requested_at: Mapped[Time | None]
    error: Mapped[str | None]
    remedy: Mapped[str | None]
    log_tail: Mapped[str] = mapped_column(server_default="", default="")
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"), unique=True)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]

    snapshot: Mapped[Snapshot] = relationship(lazy="raise")
    checkpoint: Mapped[Checkpoint | None] = relationship(lazy="raise")


class TrainingEvent(Base):
    """One line of the run's ``events.jsonl``, for its live plots."""

    __tablename__ = "training_events"
    __table_args__ = (UniqueConstraint("run_id", "seq"),)

    id: Mapped[Key]
    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"))
    seq: Mapped[int]
    """The line's number in the file: copying it twice changes nothing."""
    event: Mapped[str] = mapped_column(String(30))
    step: Mapped[int | None]
    values: Mapped[Json]
    at: Mapped[Time]
