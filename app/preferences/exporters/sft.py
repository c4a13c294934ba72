"""Fine-tuning rows: what people wrote to a prompt, edits and whole answers, each with its origin.

They are what :mod:`training.sft` reads, and TRL's SFTTrainer. Responses that people only preferred are the model's own words,
and are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.kernel.locales import N_
from app.preferences.exporters import canonical
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns
from training.formats.pairs import WRITTEN, Stated
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

ORDER = ("prompt", "completion", "source", "tools", "capability", "annotation_id", "split")
SHARED = ("prompt", "tools", "capability", "annotation_id", "split")
OWN = (
    columns.Column("completion", columns.ANSWER, "what a person wrote"),
    columns.Column("source", columns.TEXT, "`human`: from scratch; `human_edit`: a response that was improved"),
)


def _columns() -> tuple[columns.Column, ...]:
    known = {each.name: each for each in (*columns.COLUMNS, *OWN)}
    known["tools"] = replace(known["tools"], type=columns.TEXT)
    return tuple(known[name] for name in ORDER)


def _texts(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[Stated[Any]]:
    """The first row with a text that a person wrote: all rows of an annotation have the same."""
    for row in canonical.pairs(stated, min_strength):
        if row.edited is not None:
            yield row
            return


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    texts = canonical.messages(source)
    found = _texts(canonical.stated(source), min_strength)
    rows = (
        {"completion": texts[row.edited], "source": "human" if row.outcome == WRITTEN else "human_edit"}
        for row in found
    )
    return {name: source.value(name) for name in SHARED}, rows


SHAPE = RowShape(
    label=N_("Fine-tuning: prompt, completion"),
    purpose=N_(
        "Fine-tuning rows are for supervised fine-tuning: what people wrote, from scratch or as an edit, with its origin, "
        "and, unless you choose a split, only training prompts."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=_texts,
    rows=_rows,
    shown={N_("Prompt"): "prompt", N_("Written"): "completion", N_("Origin"): "source"},
    rare=("tools", "tool_calls", "tool_call_id", "name", "capability"),
)
