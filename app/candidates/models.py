"""Sampled outputs with everything that made them."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Created, Json, Key
from app.prompts.models import Prompt
from app.registry.models import Checkpoint


class Candidate(Base):
    """One sampled output, exactly as sampled: it is what people see and what is trained on. Never updated."""

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
    finish_reason: Mapped[str] = mapped_column(String(20))
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    sampling: Mapped[Json]
    """What was sent: model name, temperature, top_p, max_tokens."""
    engine_version: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[Created]

    prompt: Mapped[Prompt] = relationship(lazy="raise")
    checkpoint: Mapped[Checkpoint] = relationship(lazy="raise")
