"""TRL's shape: ranked pairs only, with the edit as a winner of its own, and what a trainer filters by.

Tools are a string of JSON in every format, because columns cannot hold what has another inner shape in each row; the
arguments of tool calls are one already, in the one form of messages. A response that called tools is all of its messages, its
calls as the model wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from app.kernel.locales import N_
from app.preferences.exporters import canonical
from app.preferences.exporters.conversations import ranked
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

ORDER = ("prompt", "chosen", "rejected", "tools", "strength", "annotation_id", "split")
SHARED = ("prompt", "tools", "annotation_id", "split")


def _columns() -> tuple[columns.Column, ...]:
    known = {each.name: each for each in columns.COLUMNS}
    known["tools"] = replace(known["tools"], type=columns.TEXT)
    return tuple(known[name] for name in ORDER)


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    texts = canonical.messages(source, with_steps=True)
    found = ranked(canonical.stated(source), min_strength)
    rows = ({"chosen": texts[pair.better], "rejected": texts[pair.worse], "strength": pair.strength} for pair in found)
    return {name: source.value(name) for name in SHARED}, rows


SHAPE = RowShape(
    label=N_("TRL, OpenRLHF: prompt, chosen, rejected"),
    purpose=N_(
        "TRL rows are for its RewardTrainer and DPOTrainer, and for OpenRLHF: ranked pairs only, with edited > chosen > "
        "rejected expanded, and, unless you choose a split, only training prompts."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=ranked,
    rows=_rows,
    rare=("tools", "tool_calls", "tool_call_id", "name"),
)
