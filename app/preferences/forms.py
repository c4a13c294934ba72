"""What may be asked of an export, and in which form it comes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.kernel.languages import code_of, named
from app.kernel.numbers import Truth, Whole
from app.preferences.exporters import Shape
from app.prompts.origins import Origin
from training.formats.prompts import Split

Id = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
Number = Annotated[Whole, Field(ge=0, le=2**31 - 1)]


def _code(value: Any) -> Any:
    code = code_of(value) if isinstance(value, str) else None
    if code is None:
        raise ValueError("this is no language that Corral knows: use its code, such as de")
    return code


LanguageCode = Annotated[str, BeforeValidator(_code)]


class Side(StrEnum):
    """Which prompts a download is asked for. Without a word canonical rows are all, and TRL's those to train on."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    ALL = "all"


def split_for(shape: Shape, asked: Side | None) -> Split | None:
    """The side of the split that a download has; None is both. What a trainer reads has nothing held out by default."""
    if asked is None:
        return shape.exporter.side
    return None if asked is Side.ALL else Split(asked.value)


class ExportFilter(BaseModel):
    """Which preferences. Everything left empty means all; superseded annotations are never in."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"rounds": [1, 2], "split": "train", "min_strength": 2}, {}]},
    )

    batch_ids: tuple[Id, ...] = Field(default=(), description="Only these batches.")
    rounds: tuple[Number, ...] = Field(default=(), description="Only batches of rounds with these numbers.")
    split: Split | None = Field(default=None, description="Only one side of the split by prompt.")
    min_strength: Whole | None = Field(
        default=None, ge=1, le=4, description="Only ranked pairs of at least this strength; leaves out ties."
    )
    origins: tuple[Origin, ...] = Field(default=(), description="Only prompts of these origins.")
    languages: tuple[LanguageCode, ...] = Field(
        default=(), description="Only prompts in these languages, said or detected: codes of ISO 639-1."
    )
    until: Id | None = Field(default=None, description="Only annotations up to this id.")
    beyond_snapshot: Id | None = Field(default=None, description="Only annotations that this snapshot does not hold.")
    checkpoint_ids: tuple[Id, ...] = Field(
        default=(), description="Only comparisons with a response of one of these checkpoints."
    )
    settled: Truth = Field(default=False, description="Only comparisons that no annotator will get any more.")

    def stored(self) -> dict[str, Any]:
        """As JSON, without what was left empty."""
        given = self.model_dump(mode="json").items()
        return {key: value for key, value in given if value not in (None, []) and value is not False}

    def words(self) -> str:
        """For people: what is in."""
        parts = [
            f"batches {', '.join(map(str, self.batch_ids))}" if self.batch_ids else "",
            f"rounds {', '.join(map(str, self.rounds))}" if self.rounds else "",
            f"split {self.split.value.replace('_', '-')}" if self.split else "",
            f"strength {self.min_strength} and up" if self.min_strength else "",
            f"origin {', '.join(self.origins)}" if self.origins else "",
            f"language {named(list(self.languages))}" if self.languages else "",
            f"annotations up to no. {self.until}" if self.until else "",
            f"annotations that snapshot {self.beyond_snapshot} does not hold"
            if self.beyond_snapshot is not None
            else "",
            f"responses of checkpoints {', '.join(map(str, self.checkpoint_ids))}" if self.checkpoint_ids else "",
            "comparisons that need no more annotators" if self.settled else "",
        ]
        return "; ".join(part for part in parts if part) or "everything"


class SnapshotRequest(BaseModel):
    """Freeze an export. ``filter`` left empty freezes everything up to now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filter": {"rounds": [1]}}]})

    filter: ExportFilter = ExportFilter()
