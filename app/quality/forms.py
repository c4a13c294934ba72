"""What comes in and what goes out: the JSON of reviews and known answers."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.annotations.forms import Draft
from app.annotations.models import Outcome, Purpose, Verdict
from app.prompts.forms import Guidelines

Words = Guidelines
"""A text that people write for people: plain line ends, storable, at most 20,000 characters."""


class VerdictIn(BaseModel):
    """A reviewer's word."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"verdict": "returned", "note": "B invents its source."}]}
    )

    verdict: Verdict
    note: Words = Field(default="", description="Required where the annotation is returned.")


class GoldIn(BaseModel):
    """Why an answer is known."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"explanation": "Only the first response gives the *year*."}]}
    )

    explanation: Words = Field(description="Markdown; read by people while they qualify. It names no positions.")


class ReviewOut(BaseModel):
    """What a reviewer said."""

    id: int
    annotation_id: int
    verdict: Verdict
    note: str


class SaidOut(BaseModel):
    """An annotation in the list."""

    id: int
    batch: str
    annotator: str = Field(description="A pseudonym.")
    purpose: Purpose
    outcome: str = Field(description="In words, by position.")
    edited: bool
    flagged: bool
    verdict: Verdict | None = Field(description="The latest review; null: none.")
    created_at: datetime


class SaidList(BaseModel):
    """A page of annotations, newest first; ``next`` is the ``before`` of the page that follows."""

    annotations: list[SaidOut]
    next: int | None


class ReviewedOut(BaseModel):
    """An annotation as its annotator gave it. Responses are in the order shown; nothing says which model wrote them."""

    id: int
    batch_id: int
    annotator: str
    responses: list[str]
    said: Draft = Field(description="By position, as it was submitted.")
    guidelines_version: int
    active_seconds: float | None
    reviews: list[ReviewOut]
    created_at: datetime


class GoldOut(BaseModel):
    """An item with a known answer."""

    id: int
    batch_id: int
    outcome: Outcome
    explanation: str
    from_annotation_id: int | None
    answered: int
    retired: bool


class GoldList(BaseModel):
    """A page of items with known answers, newest first; ``next`` is the ``before`` of the page that follows."""

    items: list[GoldOut]
    next: int | None
