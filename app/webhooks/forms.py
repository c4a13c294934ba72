"""The JSON of webhooks under ``/api/v1``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.webhooks.models import DeliveryState, Occasion

Wanted = Literal["batch.done", "round.verdict", "export.ready"]
WORDS = {
    "batch.done": N_("a batch is done"),
    "round.verdict": N_("a round has its verdict"),
    "export.ready": N_("a snapshot is ready to download"),
}
"""As people read it; ``test`` is told on demand."""


def in_words() -> dict[str, str]:
    """The same, in the reader's language."""
    return {name: _(said) for name, said in WORDS.items()}


class WebhookIn(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.org/corral", "occasions": ["round.verdict"]}]},
    )

    url: str = Field(min_length=1, max_length=2000)
    occasions: list[Wanted] = Field(min_length=1, max_length=3)


class WebhookJson(BaseModel):
    """A webhook, without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[3])
    url: str = Field(examples=["https://example.org/corral"])
    occasions: list[Wanted] = Field(examples=[["round.verdict"]])
    created_at: datetime


class WebhookSecret(WebhookJson):
    """A new webhook; the only time its secret is shown."""

    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])


class WebhookList(BaseModel):
    """All webhooks, newest first."""

    webhooks: list[WebhookJson]


class DeliveryJson(BaseModel):
    """What a webhook was told, and whether it arrived."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[41])
    occasion: Occasion = Field(examples=["round.verdict"])
    data: dict[str, Any] = Field(examples=[{"round": 2, "verdict": "promoted"}])
    happened_at: datetime
    state: DeliveryState = Field(examples=["delivered"])
    attempts: int = Field(examples=[1])
    next_try_at: datetime = Field(description="Of a pending one.")
    last_error: str | None = Field(examples=[None])
    delivered_at: datetime | None


class DeliveryList(BaseModel):
    """Newest first; ``next`` is the ``before`` of the page that follows."""

    deliveries: list[DeliveryJson]
    next: int | None
