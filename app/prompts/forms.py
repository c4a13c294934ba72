"""What comes in and what goes out: the settings of a batch, and the JSON of ``/api/v1/batches``."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from app.prompts.models import BatchState, EditPolicy
from app.storable import flaw

MESSAGES = {
    "string_too_short": "Please fill this in.",
    "missing": "Please fill this in.",
    "extra_forbidden": "There is no such setting.",
}


def _empty_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        wrong = flaw(value)
        if wrong:
            raise ValueError(f"contains {wrong}: remove it")
    return value


def _one_line(value: Any) -> Any:
    return " ".join(unicodedata.normalize("NFC", value).split()) if isinstance(value, str) else value


def _unix_lines(value: Any) -> Any:
    """Browsers send CRLF from a text area; what is stored has plain line ends."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120), BeforeValidator(_one_line), BeforeValidator(_storable)
]
Guidelines = Annotated[
    str, StringConstraints(max_length=20_000), BeforeValidator(_unix_lines), BeforeValidator(_storable)
]


class BatchSettings(BaseModel):
    """What an admin decides about a batch before its prompts are imported."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "name": "Support questions, May",
                "guidelines": "Prefer the answer that a customer could act on.",
                "candidates_per_prompt": 4,
                "annotators_per_prompt": 2,
                "edit_policy": "optional",
                "max_tokens": 256,
            }
        },
    )

    name: Name
    guidelines: Guidelines = ""
    candidates_per_prompt: Annotated[int, Field(ge=2, le=8)] = 4
    annotators_per_prompt: Annotated[int, Field(ge=1, le=20)] = 1
    edit_policy: EditPolicy = EditPolicy.OPTIONAL
    max_tokens: Annotated[int, Field(ge=1, le=32768)] = 256
    temperature: Annotated[float | None, Field(ge=0, le=2), BeforeValidator(_empty_is_none)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1), BeforeValidator(_empty_is_none)] = None
    leave_out_refused: bool = False
    """Import the valid prompts and leave out the refused lines; without it, any refused line refuses the file."""

    @property
    def sampling(self) -> dict[str, float]:
        """The overrides of each deployment's own sampling."""
        given = {"temperature": self.temperature, "top_p": self.top_p}
        return {name: value for name, value in given.items() if value is not None}


class GuidelinesForm(BaseModel):
    """The guidelines of a batch, edited."""

    model_config = ConfigDict(extra="forbid")

    guidelines: Guidelines


def field_errors(error: ValidationError) -> dict[str, str]:
    """One sentence per field, to stand beside it."""
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        plain = problem["msg"].removeprefix("Value error, ").replace("Input should", "This should")
        said.setdefault(name, MESSAGES.get(problem["type"], f"{plain[:1].upper()}{plain[1:].rstrip('.')}."))
    return said


# ── JSON out ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class ProgressJson(BaseModel):
    """How far a batch is: prompts by state of their generation, and comparisons."""

    prompts: int = Field(examples=[56])
    pending: int = Field(examples=[10])
    generating: int = Field(examples=[4])
    ready: int = Field(examples=[41])
    quarantined: int = Field(examples=[1])
    comparisons: int = Field(examples=[41], description="Prompts with enough different responses to compare.")
    comparisons_done: int = Field(examples=[12], description="Comparisons with all the annotations they want.")


class BatchJson(BaseModel):
    """A batch with its settings and progress."""

    id: int = Field(examples=[7])
    name: str = Field(examples=["Support questions, May"])
    state: BatchState = Field(examples=["open"])
    round: int = Field(examples=[1], description="The number of the round that the batch belongs to.")
    capability: str | None = Field(examples=["general"], description="Set when all prompts share one.")
    guidelines: str = Field(examples=["Prefer the answer that a customer could act on."])
    candidates_per_prompt: int = Field(examples=[4])
    annotators_per_prompt: int = Field(examples=[2])
    edit_policy: EditPolicy = Field(examples=["optional"])
    max_tokens: int = Field(examples=[256])
    sampling: dict[str, float] = Field(examples=[{"temperature": 0.8}])
    created_at: datetime = Field(examples=["2026-11-23T09:12:00Z"])
    opened_at: datetime | None = Field(examples=["2026-11-23T10:00:00Z"])
    closed_at: datetime | None = Field(examples=[None])
    progress: ProgressJson


class BatchList(BaseModel):
    """Batches, newest first. ``next`` is the ``before`` of the following page, or null on the last one."""

    batches: list[BatchJson]
    next: int | None = Field(examples=[None])


class StateChange(BaseModel):
    """The state that a batch should have."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "open"}})

    state: BatchState
