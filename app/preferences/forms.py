"""What may be asked of an export, and in which form it comes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.numbers import Truth, Whole
from training.formats.prompts import Split

Id = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
Number = Annotated[Whole, Field(ge=0, le=2**31 - 1)]


class Shape(StrEnum):
    """``canonical``: every pair with all that is known of it. ``trl``: what TRL's trainers read, edits expanded."""

    CANONICAL = "canonical"
    TRL = "trl"


class Side(StrEnum):
    """Which prompts a download is asked for. Without a word canonical rows are all, and TRL's those to train on."""

    TRAIN = "train"
    HELD_OUT = "held_out"
    ALL = "all"


def split_for(shape: Shape, asked: Side | None) -> Split | None:
    """The side of the split that a download has; None is both. What a trainer reads has nothing held out by default."""
    if asked is None:
        return Split.TRAIN if shape is Shape.TRL else None
    return None if asked is Side.ALL else Split(asked.value)


class Format(StrEnum):
    """JSON Lines for people and scripts, Parquet for ``datasets`` and data frames."""

    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """The registered media type."""
        return {"jsonl": "application/jsonl", "parquet": "application/vnd.apache.parquet"}[self.value]


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
    until: Id | None = Field(default=None, description="Only annotations up to this id.")
    settled: Truth = Field(default=False, description="Only comparisons that no annotator will be given any more.")

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
            f"annotations up to no. {self.until}" if self.until else "",
            "comparisons that want no more annotators" if self.settled else "",
        ]
        return "; ".join(part for part in parts if part) or "everything"


class SnapshotRequest(BaseModel):
    """Freeze an export. ``filter`` left empty freezes everything up to now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"filter": {"rounds": [1]}}]})

    filter: ExportFilter = ExportFilter()
