"""Sampled outputs with everything that made them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.leases import Leased
from app.prompts.models import Prompt
from app.registry.models import Checkpoint, Deployment

IMPORTED = "imported"
"""The engine of a response that came in a file, and the label of its model's deployment, which is never in rotation."""
CUT = "length"
"""The finish reason of a response that the token limit cut off."""


class Candidate(Base):
    """One output, exactly as sampled or as its file has it: it is what people see and what is trained on. Never updated."""

    __tablename__ = "candidates"
    __table_args__ = (
        UniqueConstraint("prompt_id", "checkpoint_id", "sample_index"),
        CheckConstraint("prompt_tokens >= 0 AND completion_tokens >= 0", name="token_counts"),
        Index(None, "checkpoint_id"),
    )

    id: Mapped[Key]
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"))
    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id"))
    sample_index: Mapped[int]
    text: Mapped[str]
    """Its last turn; of most responses the only one."""
    steps: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    """What came before it where tools were called that Corral runs: turns of the model in the form of messages, each with the
    text as it was sampled under ``said``, and what the tools answered, with ``failed`` where they could not."""
    finish_reason: Mapped[str] = mapped_column(String(20))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    """Of all turns."""
    sampling: Mapped[Json]
    """What was sent: model name, temperature, top_p, max_tokens. Of an imported one what its file says of it."""
    engine_version: Mapped[str] = mapped_column(String(80))
    extra: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB(none_as_null=True))
    """Of an imported one: what else its file says of it, such as ratings. Nobody who judges sees it, and it counts as nothing."""
    edited_from_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    """Set where this is a person's improved text, shown beside its original to verify the edit; the rest of the row is the
    original's. Sampled outputs have none."""
    created_at: Mapped[Created]

    prompt: Mapped[Prompt] = relationship(lazy="raise")
    checkpoint: Mapped[Checkpoint] = relationship(lazy="raise")


class CandidateScore(Base):
    """What a reward model says of a candidate. Never shown before submission."""

    __tablename__ = "candidate_scores"

    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"), primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), primary_key=True, index=True)
    score: Mapped[float]
    created_at: Mapped[Created]


class CandidateFeatures(Base):
    """What a base model makes of a candidate: the mean of its hidden states over the response. Pairs are chosen by it."""

    __tablename__ = "candidate_features"

    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"), primary_key=True)
    checkpoint_id: Mapped[int] = mapped_column(ForeignKey("checkpoints.id"), primary_key=True, index=True)
    """The base model."""
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    """Half-precision numbers, little-endian."""
    created_at: Mapped[Created]


class LiveKind(StrEnum):
    """What is generated while somebody waits: a ``reply`` in a dialogue, a ``revision``, or one side of a ``trial``."""

    REPLY = "reply"
    REVISION = "revision"
    TRIAL = "trial"


class LiveState(StrEnum):
    """``queued`` → ``streaming`` (leased) → ``done``, or ``stopped`` by its user, or ``failed`` with the reason."""

    QUEUED = "queued"
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class LiveGeneration(Leased, Base):
    """The ledger row of one text that is generated while its user watches. The stream is elsewhere; what came is here."""

    __tablename__ = "live_generations"
    __table_args__ = (
        UniqueConstraint("user_id", "request_key"),
        CheckConstraint("max_tokens BETWEEN 1 AND 32768", name="max_tokens_range"),
        CheckConstraint("(kind = 'trial') = (prompt_id IS NULL)", name="prompt_unless_trial"),
        CheckConstraint("(state = 'streaming') = (lease_until IS NOT NULL)", name="lease_while_streaming"),
        Index("ix_live_generations_open", "id", postgresql_where=text("state IN ('queued', 'streaming')")),
        Index(None, "user_id", "created_at"),
        Index(None, "prompt_id"),
    )

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    prompt_id: Mapped[int | None] = mapped_column(ForeignKey("prompts.id"))
    kind: Mapped[LiveKind] = mapped_column(enum_column(LiveKind, "kind"))
    slot: Mapped[int] = mapped_column(default=0, server_default="0")
    """Which of the replies that stand side by side; says nothing of who writes it."""
    request_key: Mapped[str] = mapped_column(String(200))
    """Chosen by the page: asked for twice with one key, a text is generated once."""
    request_hash: Mapped[bytes | None]
    """What was asked for under the key (:func:`app.kernel.fingerprint.fingerprint`); null in rows older than this column."""
    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id"))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """What the engine is sent."""
    max_tokens: Mapped[int]
    sampling: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """What is asked for; once it is done, what was really sent."""
    state: Mapped[LiveState] = mapped_column(
        enum_column(LiveState, "state"), default=LiveState.QUEUED, server_default=LiveState.QUEUED.value
    )
    text: Mapped[str] = mapped_column(default="", server_default="")
    """What has come so far, written about once a second; in the end all of it."""
    finish_reason: Mapped[str | None] = mapped_column(String(20))
    prompt_tokens: Mapped[int] = mapped_column(default=0, server_default="0")
    completion_tokens: Mapped[int] = mapped_column(default=0, server_default="0")
    engine_version: Mapped[str | None] = mapped_column(String(80))
    error: Mapped[str | None]
    stop_asked_at: Mapped[Time | None]
    created_at: Mapped[Created]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]

    user: Mapped[User] = relationship(lazy="raise")
    prompt: Mapped[Prompt | None] = relationship(lazy="raise")
    deployment: Mapped[Deployment] = relationship(lazy="raise")
