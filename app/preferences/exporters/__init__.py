"""What an export comes in: shapes (what a row is) and formats (how rows are written), one file each.

A name is registered here with its file. Pages, API and commands take their lists from here: an exporter says itself what
it is called and what it is for.
"""

from __future__ import annotations

from enum import StrEnum

from app.preferences.exporters import canonical, jsonl, parquet, sft, stepwise, trl
from app.preferences.exporters.kinds import FileFormat, RowShape


class Shape(StrEnum):
    """``canonical``: every pair with all that is known of it. ``trl``: what TRL's trainers of pairs read, edits expanded.

    ``sft``: what people wrote, for supervised fine-tuning. ``stepwise``: labels of steps, for a stepwise reward model.
    """

    CANONICAL = "canonical"
    TRL = "trl"
    SFT = "sft"
    STEPWISE = "stepwise"

    @property
    def exporter(self) -> RowShape:
        """What makes its rows, and what describes it."""
        return SHAPES[self]


class Format(StrEnum):
    """JSON Lines for people and scripts, Parquet for ``datasets`` and data frames."""

    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def exporter(self) -> FileFormat:
        """What writes it, and what describes it."""
        return FORMATS[self]


SHAPES = {
    Shape.CANONICAL: canonical.SHAPE,
    Shape.TRL: trl.SHAPE,
    Shape.SFT: sft.SHAPE,
    Shape.STEPWISE: stepwise.SHAPE,
}
FORMATS = {Format.JSONL: jsonl.FORMAT, Format.PARQUET: parquet.FORMAT}
