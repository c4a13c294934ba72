"""The views of the desk that people keep. The constraints here are the promises."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Key


class DeskView(Base):
    """A filter of the desk that somebody keeps under a name; nobody else sees it."""

    __tablename__ = "desk_views"
    __table_args__ = (UniqueConstraint("user_id", "name"), CheckConstraint("name <> ''", name="has_name"))

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(80))
    filters: Mapped[str] = mapped_column(String(2000))
    """As they stand in an address, without the question mark."""
    created_at: Mapped[Created]
