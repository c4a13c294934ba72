"""Sources for training: files of preferences or of answers from elsewhere."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import gettext as _
from training.formats.settings import MOST_WEIGHT


class SourceKind(StrEnum):
    """What a row is, and so what learns from it."""

    PREFERENCES = "preferences"
    """A prompt with a better and a worse response: for reward model and policy."""
    COMPLETIONS = "completions"
    """A prompt with an answer: for the imitation."""

    @property
    def label(self) -> str:
        """What pages call it."""
        return _("Preferences") if self is SourceKind.PREFERENCES else _("Prompts with answers")


class SourceOrigin(StrEnum):
    """Who wrote or judged it."""

    HUMAN = "human"
    OTHER_TASK = "other_task"
    SYNTHETIC = "synthetic"

    @property
    def label(self) -> str:
        """What pages call it."""
        return {"human": _("People"), "other_task": _("Another task’s data"), "synthetic": _("A model")}[self.value]


class Source(Base):
    """One file, as its rows were read. Its rows never change; its weight is 0 until somebody says otherwise.

    The folder ``path`` under ``sources_dir`` holds the rows and, written last, a manifest with their hash.
    """

    __tablename__ = "sources"
    __table_args__ = (
        CheckConstraint(f"weight >= 0 AND weight <= {MOST_WEIGHT:g}", name="weight_range"),
        CheckConstraint("withdrawn_at IS NULL OR weight = 0", name="withdrawn_weighs_nothing"),
        CheckConstraint("file_deleted_at IS NULL OR withdrawn_at IS NOT NULL", name="deleted_once_withdrawn"),
        CheckConstraint("rows > 0 AND bytes > 0", name="has_rows"),
    )

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(60), unique=True)
    kind: Mapped[SourceKind] = mapped_column(enum_column(SourceKind, "kind"))
    origin: Mapped[SourceOrigin] = mapped_column(enum_column(SourceOrigin, "origin"))
    licence: Mapped[str] = mapped_column(String(500), server_default="", default="")
    """What may be done with it, in somebody's words."""
    filename: Mapped[str] = mapped_column(String(255))
    rows: Mapped[int]
    bytes: Mapped[int]
    """Of the rows, as they are stored."""
    left_out: Mapped[Json] = mapped_column(JSONB, server_default="{}", default=dict)
    """Rows of the file that were left out: how many, by the first sentence of each kind of reason."""
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str] = mapped_column(String(80), unique=True)
    weight: Mapped[float] = mapped_column(server_default="0", default=0.0)
    """How many times an epoch has each of its rows; 0 is not mixed in at all."""
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    withdrawn_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    withdrawn_at: Mapped[Time | None]
    file_deleted_at: Mapped[Time | None]
    """Its rows are gone; what they were stays said, for the runs that learnt from them."""

    created_by: Mapped[User | None] = relationship(lazy="raise", foreign_keys=[created_by_id])
