"""Webhooks, and the ledger of what they are told. The constraints here are the promises."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.worded import Worded


class Occasion(StrEnum):
    """What a webhook is told of."""

    BATCH_DONE = "batch.done"
    ROUND_VERDICT = "round.verdict"
    EXPORT_READY = "export.ready"
    TEST = "test"
    """Somebody pressed the button."""


class DeliveryState(Worded):
    """``pending`` until the receiver has taken it (``delivered``) or all tries are used up (``failed``)."""

    PENDING = N_("pending")
    DELIVERED = N_("delivered")
    FAILED = N_("failed")


class Webhook(Base):
    """An address that is told of occasions. ``secret`` signs what is sent; it is shown once."""

    __tablename__ = "webhooks"
    __table_args__ = (CheckConstraint("jsonb_array_length(occasions) > 0", name="occasions_some"),)

    id: Mapped[Key]
    url: Mapped[str] = mapped_column(String(500))
    secret: Mapped[str] = mapped_column(String(80), deferred=True)
    occasions: Mapped[list[str]] = mapped_column(JSONB)
    created_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class Delivery(Base):
    """One message to one webhook, sent until it is taken. Of an occasion there is one a turn, however often it is looked for."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state <> 'failed' OR last_error IS NOT NULL", name="failure_has_reason"),
        CheckConstraint("(state = 'delivered') = (delivered_at IS NOT NULL)", name="delivered_when"),
        Index(
            "uq_webhook_deliveries_turn",
            "webhook_id",
            "occasion",
            "subject_id",
            "turn",
            unique=True,
            postgresql_where=text("occasion <> 'test'"),
        ),
        Index("ix_webhook_deliveries_due", "next_try_at", postgresql_where=text("state = 'pending'")),
        Index("ix_webhook_deliveries_webhook_id", "webhook_id", "id"),
    )

    id: Mapped[Key]
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    occasion: Mapped[Occasion] = mapped_column(enum_column(Occasion, "occasion"))
    subject_id: Mapped[int] = mapped_column(BigInteger)
    """The batch, round or snapshot; of a test, the webhook."""
    turn: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often the batch had been given more to do by then: each time it is done again, it is told again."""
    data: Mapped[Json]
    """What is said of it: ids, names and numbers, nothing that anybody wrote."""
    happened_at: Mapped[Created]
    state: Mapped[DeliveryState] = mapped_column(
        enum_column(DeliveryState, "state"),
        default=DeliveryState.PENDING,
        server_default=DeliveryState.PENDING.value,
    )
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    """Grows when a try begins: what comes back from an earlier one is dropped."""
    next_try_at: Mapped[Created]
    """While a try is under way: when it counts as lost."""
    last_error: Mapped[str | None] = mapped_column(String(300))
    delivered_at: Mapped[Time | None]

    webhook: Mapped[Webhook] = relationship(lazy="raise")
