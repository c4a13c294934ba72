"""What a source is added with, and how the API shows one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.kernel.numbers import Real, Truth
from app.kernel.storable import flaw
from app.sources.models import Source, SourceKind, SourceOrigin
from training.formats.settings import MOST_WEIGHT

Weight = Annotated[Real, Field(ge=0, le=MOST_WEIGHT, allow_inf_nan=False, examples=[0.5])]
WEIGHT = (
    "How many times an epoch has each of its rows: 2 is twice, 0.25 a quarter of them, drawn anew for each training, and 0 "
    "none."
)


_WEIGHT: TypeAdapter[float] = TypeAdapter(Weight)


def weight_of(typed: str) -> float:
    """A weight as somebody typed it, with a comma or a point. Raises BadInput."""
    try:
        return _WEIGHT.validate_python(typed.strip().replace(",", "."))
    except ValidationError:
        raise refused(
            "weight", _("Use a number from 0 to {most}, such as 0.5.", most=format(MOST_WEIGHT, "g"))
        ) from None


def _line(value: str) -> str:
    wrong = flaw(value)
    if wrong:
        raise ValueError(_("contains {wrong}: remove it", wrong=wrong))
    said = " ".join(value.split())
    if not said.isprintable():
        raise ValueError(_("Use printable characters only"))
    return said


def _filled(value: str) -> str:
    if not value:
        raise ValueError(_("Please fill this in"))
    return value


class SourceIn(BaseModel):
    """A new source. It weighs nothing until its weight is set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"name": "HelpSteer 3", "kind": "preferences", "origin": "human", "licence": "CC BY 4.0"},
            ]
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_line), AfterValidator(_filled)]
    kind: SourceKind
    origin: SourceOrigin
    licence: Annotated[str, Field(max_length=500), AfterValidator(_line)] = Field(
        "", description="What may be done with it, in your words."
    )
    leave_out_refused: Truth = Field(
        default=False,
        description="Keep the valid rows and leave out refused ones; without it one of them refuses the file.",
    )


class WeightIn(BaseModel):
    """How much of a source the next trainings learn from."""

    model_config = ConfigDict(extra="forbid")

    weight: Weight = Field(description=WEIGHT)


SOURCE: dict[str, Any] = {
    "id": 2,
    "name": "HelpSteer 3",
    "kind": "preferences",
    "origin": "human",
    "licence": "CC BY 4.0",
    "filename": "preference.jsonl.gz",
    "rows": 38459,
    "left_out": {"finds no response better than another: remove the row": 2541},
    "sha256": "9f2c1a7be0d35c64a8f1e2d3b4c5968778695a4b3c2d1e0f9182736455463728",
    "weight": 0.25,
    "created_at": "2026-11-30T09:12:00Z",
    "withdrawn_at": None,
    "file_deleted_at": None,
}


class SourceJson(BaseModel):
    """A source. ``sha256`` is of its rows as they were read, which never change."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [SOURCE]})

    id: int
    name: str
    kind: SourceKind
    origin: SourceOrigin
    licence: str
    filename: str
    rows: int
    left_out: dict[str, int] = Field(
        description="Rows of the file that were left out, by the reason of the first of each kind."
    )
    sha256: str
    weight: float = Field(description=WEIGHT)
    created_at: datetime
    withdrawn_at: datetime | None = Field(
        description="When it was withdrawn: no training that starts later learns from it."
    )
    file_deleted_at: datetime | None = Field(description="When its file was deleted; null while there is one.")


class LearntJson(BaseModel):
    """A source that a run learns from beside its snapshot, with the weight that it had when the run was queued."""

    source_id: int = Field(examples=[2])
    name: str = Field(examples=["HelpSteer 3"])
    origin: SourceOrigin = Field(examples=["human"])
    sha256: str = Field(examples=[SOURCE["sha256"]])
    weight: float = Field(examples=[0.25])
    file_deleted_at: datetime | None = Field(examples=[None])

    @classmethod
    def of(cls, source: Source, weight: float) -> LearntJson:
        """The source, at this weight."""
        return cls(
            source_id=source.id,
            name=source.name,
            origin=source.origin,
            sha256=source.sha256,
            weight=weight,
            file_deleted_at=source.file_deleted_at,
        )


class SourceList(BaseModel):
    """A page of sources, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"sources": [SOURCE], "next": None}]})

    sources: list[SourceJson]
    next: int | None
