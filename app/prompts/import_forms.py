"""JSON of an import: the batch that a file became, what came with it, and what was left out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.numbers import Truth
from app.prompts.forms import BatchJson, ModelName


class LeftOut(BaseModel):
    """A line (item, row) of the file that was not imported, and why."""

    line: int = Field(examples=[12])
    reason: str = Field(examples=['has a blank "prompt": write it or remove it'])


class Unseen(BaseModel):
    """What of some prompts does not reach the model, because the chat template in service leaves it out."""

    part: str = Field(
        examples=["tools"],
        description="system, tools, tool_calls, tool_results, thinking, names or messages; refused: there will be no response.",
    )
    prompts: int = Field(examples=[7], description="How many prompts are affected.")
    lines: list[int] = Field(examples=[[3, 8]], description="The first few of them.")
    reason: str = Field(
        examples=[
            "7 prompts (lines 3, 8 and 5 more) reach the model without their tools, which the chat template of M leaves out."
        ]
    )


class Reason(BaseModel):
    """Refused lines of one kind: how many there are, and what was said of the first."""

    reason: str = Field(examples=['has a blank "prompt": write it or remove it'])
    count: int = Field(examples=[12])


class CameJson(BaseModel):
    """The responses that a file brought."""

    prompts: int = Field(examples=[100], description="Prompts that came with responses.")
    count: int = Field(examples=[200], description="Responses.")
    models: dict[str, int] = Field(
        examples=[{"gpt-4": 100, "unnamed": 100}], description="Responses by model; of many models the first 50."
    )


class OfFile(BaseModel):
    """What of a file was left out, and what is to be known of the rest."""

    left_out: list[LeftOut] = Field(description="Every refused line, if `leave_out_refused` allowed some.")
    left_out_by_reason: list[Reason] = Field(description="The same, counted by reason, most first.")
    responses: CameJson = Field(description="What came with responses of its own.")
    notes: list[str] = Field(description="What was read differently than you may expect.", examples=[[]])
    unseen: list[Unseen] = Field(description="What was imported but does not reach the current model.")


class ImportedJson(OfFile, BatchJson):
    """The batch that a file became, and what of the file it is without."""


class AppendSettings(BaseModel):
    """What an admin decides about a file of more prompts; all else its batch has decided."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"leave_out_refused": True}})

    leave_out_refused: Truth = False
    """Add the valid prompts and leave out the refused lines; without it, any refused line refuses the file."""
    may_train: Truth = False
    """Whether the responses in the file may be trained on."""
    unnamed_model: ModelName = "unnamed"
    """What wrote those responses of the file that name no model."""


class FirstJson(BaseModel):
    """One of the first prompts of a file that a batch does not have yet; long texts are cut."""

    line: int = Field(examples=[1])
    id: str = Field(examples=["sky-1"])
    capability: str | None = Field(examples=["general"])
    language: str | None = Field(examples=["en"])
    messages: list[dict[str, Any]] = Field(
        examples=[[{"role": "user", "content": "Why is the sky blue?", "left_out": 0}]],
        description="The last six; `left_out` is how many characters of a text are not shown.",
    )


class AppendPreviewJson(OfFile):
    """What would come of a file of more prompts if it was added now."""

    new: int = Field(examples=[12], description="Prompts that would be added, once refused lines are left out.")
    known: int = Field(examples=[3], description="Prompts that the batch has already: the same content.")
    refused: int = Field(examples=[1], description="Lines that cannot be used; `left_out` lists them.")
    first: list[FirstJson] = Field(description="The first few of the new prompts.")


class AppendedJson(OfFile):
    """What came of a file of more prompts, and the batch as it is now."""

    added: int = Field(examples=[12])
    skipped: int = Field(examples=[3], description="Prompts that the batch has already: the same content.")
    batch: BatchJson
