"""Where dialogues begin, and who holds one. The turns themselves are prompts: each names its parent, which makes the tree."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.kernel.db import Base, Created, Key, Time, enum_column
from app.prompts.models import Batch


class DialogueSeed(Base):
    """What a dialogue begins with: a system prompt, a first user turn, both, or nothing.

    ``seats_free`` = wanted - begun, kept in the transaction that begins a dialogue.
    """

    __tablename__ = "dialogue_seeds"
    __table_args__ = (
        CheckConstraint("dialogues_wanted BETWEEN 1 AND 1000", name="dialogues_wanted_range"),
        CheckConstraint("seats_free BETWEEN 0 AND dialogues_wanted", name="seats_free_range"),
        Index("ix_dialogue_seeds_claim", "batch_id", "id", postgresql_where=text("seats_free > 0")),
        Index(None, "batch_id"),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    system: Mapped[str | None]
    opening: Mapped[str | None]
    """The first user turn; where there is none the annotator writes it."""
    tests: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    """What must hold of the answers to each turn, as verifiers read it; each turn's prompt gets it."""
    dialogues_wanted: Mapped[int]
    seats_free: Mapped[int]
    created_at: Mapped[Created]

    batch: Mapped[Batch] = relationship(lazy="raise")


class DialogueState(StrEnum):
    """``open`` while it is continued or branched; ``finished`` is final, with the verdict on its system prompt."""

    OPEN = "open"
    FINISHED = "finished"


class Kept(StrEnum):
    """Whether the answers kept to the system prompt throughout."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


class Dialogue(Base):
    """One annotator's conversation from one seed. Its turns are the prompts that name it."""

    __tablename__ = "dialogues"
    __table_args__ = (
        UniqueConstraint("seed_id", "annotator_id"),
        CheckConstraint("(state = 'finished') = (finished_at IS NOT NULL)", name="finished_when"),
        Index("ix_dialogues_open", "annotator_id", "id", postgresql_where=text("state = 'open'")),
        Index(None, "annotator_id", "id"),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), index=True)
    seed_id: Mapped[int] = mapped_column(ForeignKey("dialogue_seeds.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    state: Mapped[DialogueState] = mapped_column(
        enum_column(DialogueState, "state"), default=DialogueState.OPEN, server_default=DialogueState.OPEN.value
    )
    system_kept: Mapped[Kept | None] = mapped_column(enum_column(Kept, "system_kept"))
    note: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[Created]
    finished_at: Mapped[Time | None]

    seed: Mapped[DialogueSeed] = relationship(lazy="raise")
    batch: Mapped[Batch] = relationship(lazy="raise")
    annotator: Mapped[User] = relationship(lazy="raise")
