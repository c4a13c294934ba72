"""axolotl's ``chat_template.default`` for DPO: the conversation, and two messages that could follow it.

Its loader takes role and content of a message and drops the rest, so what depends on tools is left out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.kernel.locales import N_
from app.preferences.exporters import conversations
from app.preferences.exporters.kinds import PAIR, Row, RowShape
from training.formats import columns
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

OWN = (
    columns.Column("messages", columns.ListOf(conversations.SAID), "the messages that were answered"),
    columns.Column("chosen", conversations.SAID, "the better response"),
    columns.Column("rejected", conversations.SAID, "the other response"),
)


def _columns() -> tuple[columns.Column, ...]:
    return (*OWN, *conversations.shared())


def _said(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    messages = conversations.spoken(source)
    if messages is None:
        return {}, iter(())
    pairs = conversations.texts_of_pairs(source, min_strength)
    rows = ({"chosen": _said(better), "rejected": _said(worse)} for better, worse in pairs)
    return {"messages": messages} | conversations.values(source), rows


SHAPE = RowShape(
    label=N_("axolotl, DPO: messages, chosen, rejected"),
    purpose=N_("Rows for axolotl are what its chat template strategy for DPO reads."),
    side=Split.TRAIN,
    columns=_columns,
    pairs=conversations.ranked,
    rows=_rows,
    shown=PAIR | {N_("Prompt"): "messages"},
    leaves_out=N_("Prompts with tools have no place in it."),
    same_texts=True,
)
