"""What is ordered, as a form or the API says it, and how an order is shown."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from app.kernel.locales import gettext as _
from app.kernel.numbers import Whole
from app.kernel.storable import flaw
from app.prompts.forms import BatchSettings
from app.synthesis.catalogue import KINDS, Material
from app.synthesis.models import Synthesis, SynthesisState
from training.formats.languages import codes_of

MOST: int = 2_000
"""Prompts of one order."""
MOST_DOCUMENTS: int = 2_000
MATERIAL_CHARS: int = 8 * 1024 * 1024


def _storable(value: str) -> str:
    wrong = flaw(value)
    if wrong:
        raise ValueError(_("contains {wrong}: remove it", wrong=wrong))
    return value


def _names(value: Any) -> Any:
    return [name for name in re.split(r"[\s,]+", value.strip()) if name] if isinstance(value, str) else value


def _languages(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    return codes_of(value) if isinstance(value, str) else value


def _known(value: str) -> str:
    if value not in KINDS:
        raise ValueError(
            _("No generator is called “{value}”: there are {names}", value=value[:60], names=", ".join(KINDS))
        )
    return value


class DocumentIn(BaseModel):
    """A text that prompts are made of; of a repository, a file with its path as name."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=400, examples=["handbook.md"]), AfterValidator(_storable)]
    text: Annotated[
        str,
        Field(min_length=1, max_length=MATERIAL_CHARS, examples=["The office opens at nine."]),
        AfterValidator(_storable),
    ]


class SynthesisOrder(BaseModel):
    """Prompts to be made, and the settings of the batch that they become."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"generator": "arithmetic", "count": 200, "seed": 1, "settings": {"name": "Sums, first set"}}
        },
    )

    generator: Annotated[str, AfterValidator(_known)] = Field(
        description="One of the generators listed at `/generators`."
    )
    settings: BatchSettings
    count: Annotated[Whole, Field(ge=1, le=MOST)] = Field(
        100, description="Prompts that are tried to be made, at most."
    )
    seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] = Field(
        0, description="Another seed gives other prompts; the same gives the same, where no model writes."
    )
    model: Annotated[str, Field(max_length=80), AfterValidator(_storable)] | None = Field(
        None, description="The external model that writes, by its name in Corral."
    )
    documents: list[DocumentIn] = Field([], max_length=MOST_DOCUMENTS, description="What prompts are made of.")
    batch_id: Annotated[Whole, Field(ge=0, le=2**63 - 1)] | None = Field(
        None, description="For `translation`: the batch whose prompts are translated."
    )
    tasks: Annotated[
        list[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,59}$")]], Field(max_length=50), BeforeValidator(_names)
    ] = Field([], description="For `reasoning_gym`: its tasks; empty takes a dozen whose answers are numbers.")
    languages: Annotated[list[str], Field(max_length=20), BeforeValidator(_languages)] = Field(
        [], description="For `translation`: into which languages, by code or name."
    )


class GeneratorJson(BaseModel):
    """A generator that prompts can be ordered from."""

    name: str = Field(examples=["arithmetic"])
    title: str = Field(examples=["Arithmetic"])
    purpose: str = Field(examples=["Sums and word problems of growing size; the answer is checked."])
    asks: bool = Field(examples=[False], description="Whether it needs an external model that writes.")
    material: Material = Field(examples=["nothing"], description="What it makes prompts of.")
    options: list[str] = Field(examples=[[]], description="`tasks` or `languages`, where it takes them.")


class GeneratorList(BaseModel):
    """All generators."""

    generators: list[GeneratorJson]


class RowJson(BaseModel):
    """A number that gave no prompt, and why."""

    number: int = Field(examples=[12])
    reason: str = Field(examples=["a number was lost in translation"])


class SynthesisJson(BaseModel):
    """An order of prompts and how far it is."""

    id: int = Field(examples=[3])
    generator: str = Field(examples=["arithmetic"])
    name: str = Field(examples=["Sums, first set"], description="Of the batch that it becomes.")
    state: SynthesisState = Field(examples=["running"])
    wanted: int = Field(examples=[200])
    tried: int = Field(examples=[120])
    made: int = Field(examples=[118])
    dropped: int = Field(examples=[2], description="Tried numbers that gave no prompt.")
    model: str | None = Field(examples=[None], description="The external model that writes.")
    last_error: str | None = Field(examples=[None], description="Why it failed, or what it waits for.")
    batch_id: int | None = Field(examples=[None], description="The batch, once everything is made and imported.")
    created_at: datetime = Field(examples=["2026-11-29T09:12:00Z"])
    finished_at: datetime | None = Field(examples=[None])

    @classmethod
    def of(cls, synthesis: Synthesis, **more: Any) -> Self:
        """The order, as it stands."""
        same = ("id", "generator", "name", "state", "wanted", "made", "dropped", "last_error", "batch_id", "created_at")
        values = {name: getattr(synthesis, name) for name in same}
        model = synthesis.asks.name if synthesis.asks else None
        return cls(**values, tried=synthesis.next_number, model=model, finished_at=synthesis.finished_at, **more)


class SynthesisDetail(SynthesisJson):
    """An order of prompts with the first of its numbers that gave none."""

    left_out: list[RowJson] = Field(description="The first hundred numbers without a prompt, with the reasons.")


class SynthesisList(BaseModel):
    """Orders of prompts, newest first. ``next`` is the ``before`` of the following page."""

    syntheses: list[SynthesisJson]
    next: int | None = Field(examples=[None])
