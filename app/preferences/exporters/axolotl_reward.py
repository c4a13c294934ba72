"""axolotl's ``bradley_terry.chat_template`` for reward models: a system prompt, one question, two texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.kernel.locales import N_
from app.preferences.exporters import conversations
from app.preferences.exporters.kinds import PAIR, Row, RowShape
from training.formats import columns
from training.formats.columns import TEXT, Column
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

OWN = (
    Column("system", TEXT, "the system prompt; empty where there is none"),
    Column("input", TEXT, "the question"),
    Column("chosen", TEXT, "the better response"),
    Column("rejected", TEXT, "the other response"),
)


def _columns() -> tuple[columns.Column, ...]:
    return (*OWN, *conversations.shared())


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    messages = conversations.spoken(source)
    found = None if messages is None else conversations.turns(messages)
    if found is None or len(found[1]) > 1:
        return {}, iter(())
    pairs = conversations.texts_of_pairs(source, min_strength)
    common = {"system": found[0], "input": found[1][0]} | conversations.values(source)
    return common, ({"chosen": better, "rejected": worse} for better, worse in pairs)


SHAPE = RowShape(
    label=N_("axolotl, reward model: input, chosen, rejected"),
    purpose=N_("Rows for reward models of axolotl are what its Bradley–Terry strategy reads: single questions."),
    side=Split.TRAIN,
    columns=_columns,
    pairs=conversations.ranked,
    rows=_rows,
    shown=PAIR | {N_("Prompt"): "input"},
    leaves_out=N_("Conversations of several turns, and prompts with tools, have no place in it."),
    same_texts=True,
)
