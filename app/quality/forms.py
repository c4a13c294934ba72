"""What comes in and what goes out: the JSON of reviews and known answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.annotations.models import Decision
from app.comparisons.models import Purpose
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from app.prompts.forms import Guidelines

Words = Guidelines
"""A text that people write for people: plain line ends, storable, at most 20,000 characters."""


_REVIEW: dict[str, Any] = {"id": 3, "annotation_id": 41, "verdict": "returned", "note": "B invents its source."}
_SAID: dict[str, Any] = {
    "id": 41,
    "batch": "Everyday questions",
    "annotator": "annotator-5d3f0c9a1b2e",
    "purpose": "collect",
    "outcome": "B is better",
    "edited": True,
    "flagged": False,
    "verdict": "returned",
    "created_at": "2026-11-23T10:04:12Z",
}
_GOLD: dict[str, Any] = {
    "id": 52,
    "batch_id": 4,
    "outcome": "ranked",
    "explanation": "Only one of them gives the *year*.",
    "from_annotation_id": 41,
    "answered": 12,
    "retired": False,
}
_JUDGED: dict[str, Any] = {
    "outcome": "ranked",
    "ranking": [["B"], ["A"]],
    "strengths": [3],
    "edits": {"B": "In 1969."},
    "comment": "A has no year.",
    "active_seconds": 41.5,
}
_REVIEWED: dict[str, Any] = {
    "id": 41,
    "batch_id": 4,
    "annotator": "annotator-5d3f0c9a1b2e",
    "responses": ["Long ago.", "In the year 1969."],
    "said": _JUDGED,
    "guidelines_version": 2,
    "active_seconds": 41.5,
    "reviews": [_REVIEW],
    "created_at": "2026-11-23T10:04:12Z",
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class VerdictIn(BaseModel):
    """A reviewer's word."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"verdict": "returned", "note": "B invents its source."}]}
    )

    verdict: Decision
    note: Words = Field(default="", description="Required where the annotation is returned.")


class GoldIn(BaseModel):
    """Why an answer is known."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"explanation": "Only the first response gives the *year*."}]}
    )

    explanation: Words = Field(description="Markdown, shown to people during qualification. Do not refer to positions.")


class ReviewOut(BaseModel):
    """What a reviewer said."""

    model_config = _example(_REVIEW)

    id: int
    annotation_id: int
    verdict: Decision
    note: str


class SaidOut(BaseModel):
    """An annotation in the list."""

    model_config = _example(_SAID)

    id: int
    batch: str
    annotator: str = Field(description="A pseudonym.")
    purpose: Purpose
    outcome: str = Field(description="In words, by position.")
    edited: bool
    flagged: bool
    verdict: Decision | None = Field(description="The latest review, or null.")
    created_at: datetime


class SaidList(BaseModel):
    """A page of annotations, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = _example({"annotations": [_SAID], "next": None})

    annotations: list[SaidOut]
    next: int | None


class ReviewedOut(BaseModel):
    """An annotation as its annotator gave it. Responses are in the order shown; nothing says which model wrote them."""

    model_config = _example(_REVIEWED)

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

    model_config = _example(_GOLD)

    id: int
    batch_id: int
    outcome: Outcome
    explanation: str
    from_annotation_id: int | None
    answered: int
    retired: bool


class GoldList(BaseModel):
    """A page of items with known answers, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = _example({"items": [_GOLD], "next": None})

    items: list[GoldOut]
    next: int | None
