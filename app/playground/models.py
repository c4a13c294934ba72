"""What was asked in the playground. The two answers are live generations; nothing of this is judged or trained on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.candidates.models import LiveGeneration
from app.kernel.db import Base, Created, Key, Time


class Trial(Base):
    """One message to two models at once, with what was said before it."""

    __tablename__ = "trials"
    __table_args__ = (Index(None, "user_id", "id"),)

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    messages: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """The conversation that both were sent; it ends with the message."""
    left_id: Mapped[int] = mapped_column(ForeignKey("live_generations.id"), unique=True)
    right_id: Mapped[int] = mapped_column(ForeignKey("live_generations.id"), unique=True)
    blind: Mapped[bool]
    """Whether the sides were drawn, and stay without names until :attr:`revealed_at`."""
    revealed_at: Mapped[Time | None]
    created_at: Mapped[Created]

    user: Mapped[User] = relationship(lazy="raise")
    left: Mapped[LiveGeneration] = relationship(lazy="raise", foreign_keys=left_id)
    right: Mapped[LiveGeneration] = relationship(lazy="raise", foreign_keys=right_id)

    @property
    def message(self) -> str:
        """What was asked last; empty once its writer was erased."""
        return str(self.messages[-1]["content"]) if self.messages else ""
