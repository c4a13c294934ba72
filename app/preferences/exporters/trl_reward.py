"""TRL's shape for reward models with a margin: how far apart the two rewards have to be, by strength.

The margins are the smaller ones of Llama 2 (Touvron et al., arXiv 2307.09288, table 27). ``RewardTrainer`` takes a column of
that name wherever there is one, so the shape without it is another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.kernel.locales import N_
from app.preferences.exporters import canonical, trl
from app.preferences.exporters.conversations import ranked
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

MARGINS = (0.0, 1 / 3, 2 / 3, 1.0)
"""By strength from 1 to 4."""
MARGIN = columns.Column("margin", columns.FLOAT, "how far apart the rewards have to be: 0, 1/3, 2/3 or 1, by strength")


def _columns() -> tuple[columns.Column, ...]:
    own = trl.SHAPE.columns()
    return (*own[:3], MARGIN, *own[3:])


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:
    common, rows = trl.SHAPE.rows(source, min_strength, flat=flat)
    pairs = ranked(canonical.stated(source), min_strength)
    return common, (row | {"margin": MARGINS[(pair.strength or 1) - 1]} for row, pair in zip(rows, pairs, strict=True))


SHAPE = RowShape(
    label=N_("TRL, OpenRLHF: with margin"),
    purpose=N_(
        "Rows with margin are the same pairs for reward models whose loss has a margin: 0, 1/3, 2/3 or 1 by strength, "
        "under the name that TRL’s RewardTrainer and OpenRLHF read."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=ranked,
    rows=_rows,
    rare=trl.SHAPE.rare,
    same_texts=True,
)
