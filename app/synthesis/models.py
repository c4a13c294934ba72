"""Orders of prompts, and what became of each number of them. The constraints here are the promises."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.worded import Worded
from app.prompts.models import Batch
from app.registry.models import Checkpoint


class SynthesisState(Worded):
    """``running`` (leased while a worker makes prompts) → ``done``, with a batch; ``failed``, with the reason; or ``stopped``."""

    RUNNING = N_("running")
    DONE = N_("done")
    FAILED = N_("failed")
    STOPPED = N_("stopped")


class Synthesis(Base):
    """An order of prompts from a generator: the ledger row of their making, and the batch that they become."""

    __tablename__ = "syntheses"
    __table_args__ = (
        CheckConstraint("wanted BETWEEN 0 AND 2000", name="wanted_range"),
        CheckConstraint("next_number BETWEEN 0 AND wanted", name="next_number_range"),
        CheckConstraint("state <> 'failed' OR last_error IS NOT NULL", name="failure_has_reason"),
        CheckConstraint("state <> 'done' OR batch_id IS NOT NULL", name="done_has_batch"),
        CheckConstraint("state = 'running' OR lease_until IS NULL", name="lease_while_running"),
        Index("ix_syntheses_running", "next_try_at", "id", postgresql_where=text("state = 'running'")),
    )

    id: Mapped[Key]
    generator: Mapped[str] = mapped_column(String(60))
    settings: Mapped[Json]
    """Of the batch, as the import takes them; its name is in them."""
    seed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    options: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """``tasks`` and ``languages``, where the generator takes them."""
    material: Mapped[list[dict[str, Any]]] = mapped_column(
        JSONB, server_default=text("'[]'"), default=list, deferred=True
    )
    """What prompts are made of: ``[{"name", "text"}]``; empty once the batch is there."""
    asks_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    """The external model that writes."""
    wanted: Mapped[int]
    """Numbers that are tried; each gives one prompt, or a reason why not."""
    next_number: Mapped[int] = mapped_column(default=0, server_default="0")
    made: Mapped[int] = mapped_column(default=0, server_default="0")
    made_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    state: Mapped[SynthesisState] = mapped_column(
        enum_column(SynthesisState, "state"),
        default=SynthesisState.RUNNING,
        server_default=SynthesisState.RUNNING.value,
    )
    last_error: Mapped[str | None]
    """Why it failed, or what it waits for."""
    next_try_at: Mapped[Created]
    lease_until: Mapped[Time | None]
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Grows with each lease; what comes back with an older one is dropped."""
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"), unique=True)
    created_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    finished_at: Mapped[Time | None]

    batch: Mapped[Batch | None] = relationship(lazy="raise")
    asks: Mapped[Checkpoint | None] = relationship(lazy="raise")

    @property
    def name(self) -> str:
        """What the batch is to be called."""
        return str(self.settings["name"])

    @property
    def dropped(self) -> int:
        """Numbers that gave no prompt."""
        return self.next_number - self.made


class SynthesisRow(Base):
    """What became of one number: a record as the import reads it, or why there is none; both, where the import refused it."""

    __tablename__ = "synthesis_rows"
    __table_args__ = (CheckConstraint("record IS NOT NULL OR reason IS NOT NULL", name="record_or_reason"),)

    synthesis_id: Mapped[int] = mapped_column(ForeignKey("syntheses.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    record: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True), deferred=True)
    reason: Mapped[str | None]
