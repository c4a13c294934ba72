"""The training runs of a round: reward model → policy."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.worded import Worded
from app.loops.models import Verdict
from app.preferences.models import Snapshot
from app.registry.models import Checkpoint
from training.formats import trainers


class RunKind(StrEnum):
    """What a round runs, in this order.

    ``sft`` imitates the best of many samples, and ``grpo`` goes on from the policy with what can be checked, where an
    installation asks for them. ``check`` trains nothing: it measures the
    reward model and the policy against those before them, and where there are policies before, their average with the new
    one, which then is its checkpoint.
    """

    REWARD = "reward"
    SFT = "sft"
    DPO = "dpo"
    GRPO = "grpo"
    CHECK = "check"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_LABELS[self])

    @property
    def makes_policy(self) -> bool:
        """Whether what it trains may be what a round puts to the gate: the last one that does is."""
        return self in {RunKind.DPO, RunKind.GRPO}


_LABELS = {
    RunKind.REWARD: N_("Reward model"),
    RunKind.SFT: N_("Imitation"),
    RunKind.DPO: N_("Policy"),
    RunKind.GRPO: N_("Learning from checks"),
    RunKind.CHECK: N_("Check"),
}


class RunState(Worded):
    """``queued`` → ``running`` → ``succeeded`` | ``failed`` | ``cancelled``."""

    QUEUED = N_("queued")
    RUNNING = N_("running")
    SUCCEEDED = N_("succeeded")
    FAILED = N_("failed")
    CANCELLED = N_("cancelled")


class TrainingRun(Base):
    """One training subprocess: names its snapshot, streams its progress, ends in a checkpoint or a reason."""

    __tablename__ = "training_runs"
    __table_args__ = (
        CheckConstraint(
            "kind = 'check' OR (state = 'succeeded') = (checkpoint_id IS NOT NULL)", name="success_has_checkpoint"
        ),
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
    refused: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """It failed because what it made did not pass its gates: on the same judgements it would be refused again."""
    log_tail: Mapped[str] = mapped_column(server_default="", default="")
    checkpoint_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"), unique=True)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]

    snapshot: Mapped[Snapshot] = relationship(lazy="raise")
    checkpoint: Mapped[Checkpoint | None] = relationship(lazy="raise")

    @property
    def trained_by(self) -> str:
        """Who trains it, in words."""
        return trainers.settled(self.config.get("trained_by"))


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


class InputRole(StrEnum):
    """What a checkpoint was to a run that used it."""

    CHOSE = "chose"
    """The reward model that chose the samples which are imitated."""
    SAMPLED = "sampled"
    """The policy whose samples they are."""
    AVERAGED = "averaged"
    MEASURED = "measured"
    """What an evaluation measures, and what it measures it with."""
    AGAINST = "against"

    @property
    def label(self) -> str:
        """What a checkpoint's page calls it."""
        return _(_ROLES[self])


_ROLES = {
    InputRole.CHOSE: N_("Samples chosen by"),
    InputRole.SAMPLED: N_("Samples written by"),
    InputRole.AVERAGED: N_("Mean of"),
    InputRole.MEASURED: N_("Measured"),
    InputRole.AGAINST: N_("Measured against"),
}


class RunInput(Base):
    """A checkpoint that a run used beside the base that it started from: an edge of the lineage."""

    __tablename__ = "run_inputs"

    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    role: Mapped[InputRole] = mapped_column(enum_column(InputRole, "role"), primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), primary_key=True, index=True)


class RunSource(Base):
    """A source that a run learns from beside its snapshot, and how often: as it was when the run was queued."""

    __tablename__ = "run_sources"
    __table_args__ = (Index(None, "source_id"), CheckConstraint("weight > 0", name="weighs_something"))

    run_id: Mapped[int] = mapped_column(ForeignKey("training_runs.id"), primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("sources.id"), primary_key=True)
    weight: Mapped[float]


class Evaluation(Base):
    """What a checkpoint was measured at, by a program and without people, against another one or alone."""

    __tablename__ = "evaluations"
    __table_args__ = (Index(None, "checkpoint_id"),)

    id: Mapped[Key]
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    against_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    passed: Mapped[bool]
    findings: Mapped[list[Any]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    """``[{"step": 1, "level": "refuses" | "warns" | "passed", "words": "…"}]``, as pages show them."""
    metrics: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    created_at: Mapped[Created]


class ContestKind(StrEnum):
    """``gate``: whether the challenger becomes champion. ``watch``: whether the champion is worse than the one before."""

    GATE = "gate"
    WATCH = "watch"


class Contest(Base):
    """Two policies compared by people, blind, in the normal queue, until the evidence suffices.

    The sums are those of the last counting (``app.rounds.counting``), which recomputes them from the annotations. Of each kind
    a loop has at most one open (a partial unique index).
    """

    __tablename__ = "contests"
    __table_args__ = (
        Index("uq_contests_open", "loop_id", "kind", unique=True, postgresql_where=text("verdict IS NULL")),
        CheckConstraint("(verdict IS NULL) = (closed_at IS NULL)", name="verdict_closes"),
        CheckConstraint("challenger_id <> champion_id", name="two_policies"),
        CheckConstraint("counted >= 0 AND budget > 0", name="counts"),
    )

    id: Mapped[Key]
    loop_id: Mapped[int] = mapped_column(ForeignKey("loops.id"), server_default="1")
    round_id: Mapped[int] = mapped_column(ForeignKey("rounds.id"), index=True)
    """The round whose policy it is about."""
    kind: Mapped[ContestKind] = mapped_column(enum_column(ContestKind, "kind"))
    challenger_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    """Of a watch: the champion, who has to stay at least as good as the one before."""
    champion_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    """Of a watch: the previous champion."""
    budget: Mapped[int]
    """Observations after which it ends without a result."""
    counted: Mapped[int] = mapped_column(default=0, server_default="0")
    """Observations, one a prompt."""
    score: Mapped[float | None]
    """Mean of the observations: 1 the challenger won, 0 it lost."""
    log_e: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Natural log of the evidence that the challenger is better; the greatest so far."""
    log_e_worse: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """Of the evidence that ends it against the challenger."""
    low: Mapped[float | None]
    high: Mapped[float | None]
    """A 95% confidence sequence of the score, valid at every look."""
    people: Mapped[int] = mapped_column(default=0, server_default="0")
    """Who gave a counted vote."""
    details: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """What pages show beside it: the path of score and evidence, by capability, by person, length-controlled."""
    counted_at: Mapped[Time | None]
    verdict: Mapped[Verdict | None] = mapped_column(enum_column(Verdict, "verdict"))
    reason: Mapped[str] = mapped_column(default="", server_default="")
    opened_at: Mapped[Created]
    closed_at: Mapped[Time | None]
    closed_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    challenger: Mapped[Checkpoint] = relationship(lazy="raise", foreign_keys=[challenger_id])
    champion: Mapped[Checkpoint] = relationship(lazy="raise", foreign_keys=[champion_id])


class ContestVote(Base):
    """An annotation as a vote of a contest, as of the last counting."""

    __tablename__ = "contest_votes"
    __table_args__ = (
        Index(None, "annotation_id"),
        Index(None, "contest_id", "seq"),
        CheckConstraint("(seq IS NULL) = (left_out IS NOT NULL)", name="counted_or_says_why"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score_range"),
    )

    contest_id: Mapped[int] = mapped_column(ForeignKey("contests.id"), primary_key=True)
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True)
    seq: Mapped[int | None]
    """Number of the observation that it is part of, from 1; None where it is not counted."""
    score: Mapped[float]
    left_out: Mapped[str | None] = mapped_column(String(40))
    """Why it is not counted, in one word of ``app.rounds.counting``."""
