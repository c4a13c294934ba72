"""LLaMA-Factory's alpaca form with ranking: one instruction, what was said before it, and two texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.kernel.locales import N_
from app.preferences.exporters import conversations
from app.preferences.exporters.kinds import FILE, PAIR, Row, RowShape
from training.formats import columns
from training.formats.columns import TEXT, Column, ListOf
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

OWN = (
    Column("instruction", TEXT, "the last message of the person"),
    Column("input", TEXT, "empty: the loader would put it behind the instruction"),
    Column("chosen", TEXT, "the better response"),
    Column("rejected", TEXT, "the other response"),
    Column("system", TEXT, "the system prompt; empty where there is none"),
    Column("history", ListOf(ListOf(TEXT)), "what was said before: pairs of a person's message and its answer"),
)
INFO = {
    "file_name": FILE,
    "formatting": "alpaca",
    "ranking": True,
    "columns": {
        "prompt": "instruction",
        "query": "input",
        "chosen": "chosen",
        "rejected": "rejected",
        "system": "system",
        "history": "history",
    },
}
"""The entry of ``dataset_info.json``."""


def _columns() -> tuple[columns.Column, ...]:
    return (*OWN, *conversations.shared())


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    messages = conversations.spoken(source)
    found = None if messages is None else conversations.turns(messages)
    if found is None:
        return {}, iter(())
    system, said = found
    history = [list(each) for each in zip(said[:-1:2], said[1::2], strict=True)]
    common = {"instruction": said[-1], "input": "", "system": system, "history": history}
    pairs = conversations.texts_of_pairs(source, min_strength)
    return common | conversations.values(source), ({"chosen": better, "rejected": worse} for better, worse in pairs)


SHAPE = RowShape(
    label=N_("LLaMA-Factory, alpaca"),
    purpose=N_("LLaMA-Factory rows in its alpaca form are pairs of plain texts; its zip has a description, too."),
    side=Split.TRAIN,
    columns=_columns,
    pairs=conversations.ranked,
    rows=_rows,
    shown=PAIR | {N_("Prompt"): "instruction"},
    rare=("history",),
    leaves_out=N_(
        "Prompts with tools, and conversations in which the two sides do not take turns, have no place in it."
    ),
    same_texts=True,
    beside={"dataset_info.json": {"corral": INFO}},
)
