"""TRL's unpaired shape, for its KTOTrainer: a response a row, and whether it is desirable.

Of what a person ranked, a response that only won is desirable and one that only lost is not; what stands between says
neither. Where an edit wins over the response that it improves, that one is between. Of an answer that was written from
scratch, and of responses that were all unacceptable, there are no pairs, and here there are rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from app.kernel.locales import N_
from app.preferences.exporters import canonical
from app.preferences.exporters.conversations import SHARED, shared
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns
from training.formats.pairs import ALL_UNACCEPTABLE, WRITTEN, Stated, expand
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

OWN = (
    columns.Column("completion", columns.ANSWER, "a response, or what a person wrote"),
    columns.Column("label", columns.BOOL, "whether it is desirable"),
)


class _Verdict(NamedTuple):
    response: Any
    desirable: bool


def _columns() -> tuple[columns.Column, ...]:
    known = {each.name: each for each in columns.COLUMNS}
    return (known["prompt"], *OWN, replace(known["tools"], type=columns.TEXT), *shared())


def _verdicts(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[_Verdict]:
    kept = list(canonical.pairs(stated, min_strength))
    pairs = list(expand(kept, min_strength or 1))
    won = dict.fromkeys(pair.better for pair in pairs)
    lost = dict.fromkeys(pair.worse for pair in pairs)
    won |= dict.fromkeys(row.edited for row in kept if row.outcome == WRITTEN)
    lost |= dict.fromkeys(row.rejected for row in kept if row.outcome == ALL_UNACCEPTABLE)
    yield from (_Verdict(each, desirable=True) for each in won if each not in lost)
    yield from (_Verdict(each, desirable=False) for each in lost if each not in won)


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    texts = canonical.messages(source, with_steps=True)
    found = _verdicts(canonical.stated(source), min_strength)
    rows = ({"completion": texts[each.response], "label": each.desirable} for each in found)
    return {name: source.value(name) for name in ("prompt", "tools", *SHARED)}, rows


SHAPE = RowShape(
    label=N_("TRL, unpaired: prompt, completion, label"),
    purpose=N_(
        "Unpaired rows are for TRL’s KTOTrainer: a response a row, desirable where it won every pair or a person wrote it, "
        "undesirable where it lost every pair or all were unacceptable."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=_verdicts,
    rows=_rows,
    shown={N_("Prompt"): "prompt", N_("Response"): "completion", N_("Desirable"): "label"},
    rare=("tools", "tool_calls", "tool_call_id", "name"),
    same_texts=True,
)
