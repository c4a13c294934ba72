"""What an export comes in: shapes (what a row is) and formats (how rows are written), one file each.

A name is registered here with its file. Pages, API and commands take their lists from here: an exporter says itself what
it is called and what it is for.
"""

from __future__ import annotations

from enum import StrEnum

from app.preferences.exporters import (
    argilla,
    axolotl,
    axolotl_reward,
    canonical,
    csv,
    json,
    jsonl,
    kto,
    llamafactory,
    llamafactory_alpaca,
    parquet,
    sft,
    stepwise,
    trl,
    trl_reward,
    zip,  # noqa: A004 - a format is called what its file is called
)
from app.preferences.exporters.kinds import FileFormat, RowShape


class Shape(StrEnum):
    """``canonical``: every pair with all that is known of it. ``trl``: what TRL's trainers of pairs read, edits expanded.

    ``sft``: what people wrote, for supervised fine-tuning. ``stepwise``: labels of steps, for a stepwise reward model. The
    others are called after the tool that reads them.
    """

    CANONICAL = "canonical"
    TRL = "trl"
    TRL_REWARD = "trl_reward"
    KTO = "kto"
    SFT = "sft"
    STEPWISE = "stepwise"
    LLAMAFACTORY = "llamafactory"
    LLAMAFACTORY_ALPACA = "llamafactory_alpaca"
    AXOLOTL = "axolotl"
    AXOLOTL_REWARD = "axolotl_reward"
    ARGILLA = "argilla"

    @property
    def exporter(self) -> RowShape:
        """What makes its rows, and what describes it."""
        return SHAPES[self]


class Format(StrEnum):
    """JSON Lines for people and scripts, Parquet for ``datasets`` and data frames, a zip of the rows with their card."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    ZIP = "zip"
    CSV = "csv"
    JSON = "json"

    @property
    def exporter(self) -> FileFormat:
        """What writes it, and what describes it."""
        return FORMATS[self]


SHAPES = {
    Shape.CANONICAL: canonical.SHAPE,
    Shape.TRL: trl.SHAPE,
    Shape.TRL_REWARD: trl_reward.SHAPE,
    Shape.KTO: kto.SHAPE,
    Shape.SFT: sft.SHAPE,
    Shape.STEPWISE: stepwise.SHAPE,
    Shape.LLAMAFACTORY: llamafactory.SHAPE,
    Shape.LLAMAFACTORY_ALPACA: llamafactory_alpaca.SHAPE,
    Shape.AXOLOTL: axolotl.SHAPE,
    Shape.AXOLOTL_REWARD: axolotl_reward.SHAPE,
    Shape.ARGILLA: argilla.SHAPE,
}
FORMATS = {
    Format.JSONL: jsonl.FORMAT,
    Format.PARQUET: parquet.FORMAT,
    Format.ZIP: zip.FORMAT,
    Format.CSV: csv.FORMAT,
    Format.JSON: json.FORMAT,
}
