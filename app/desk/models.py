"""What the desk keeps: views, counts of work, and what work costs. The constraints here are the promises."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Key, enum_column


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


class WorkCount(Base):
    """Judgements that stand and are not retracted, and their active time: always the sum of the rows of a key.

    Triggers append rows, with minus one where a judgement ceases to stand; the sweeper folds them into one row a key
    (:mod:`app.desk.counting`). A correction counts on its own day, and what it corrects no more.
    """

    __tablename__ = "work_counts"
    __table_args__ = (
        Index(
            "uq_work_counts_folded",
            "user_id",
            "batch_id",
            "day",
            "time_class",
            unique=True,
            postgresql_where=text("folded"),
        ),
        Index("ix_work_counts_appended", "id", postgresql_where=text("NOT folded")),
        Index(None, "day"),
    )

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(BigInteger)
    """No reference, here and below: the judgement has them, and this is on the way of every submission."""
    batch_id: Mapped[int] = mapped_column(BigInteger)
    day: Mapped[date]
    """In UTC."""
    time_class: Mapped[int] = mapped_column(SmallInteger)
    """Of the active time of an item: from 2^(k/2) to 2^((k+1)/2) seconds; 0 below that, -1 where none was measured."""
    items: Mapped[int] = mapped_column(BigInteger)
    milliseconds: Mapped[int] = mapped_column(BigInteger)
    folded: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class Per(StrEnum):
    """What a rate is paid for."""

    HOUR = "hour"
    ITEM = "item"


class WorkRate(Base):
    """What work costs, one for the installation; the audit log keeps the earlier ones."""

    __tablename__ = "work_rates"
    __table_args__ = (
        CheckConstraint("id = 1", name="only_one"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("currency <> ''", name="has_currency"),
    )

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, default=1)
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 4))
    per: Mapped[Per] = mapped_column(enum_column(Per, "per"))
    currency: Mapped[str] = mapped_column(String(12))
    """As it is written behind an amount: "EUR"."""
