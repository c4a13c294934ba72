"""TRL's stepwise shape: the steps of a response up to its first wrong one, each right or not.

It is what :mod:`training.steps` reads, and TRL's trainers of stepwise reward models. A neutral step counts as right, as in
PRM800K, and ``ratings`` keeps the difference. Where somebody wrote what should stand in place of the wrong step, a second row
has it there: the same beginning with a right end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from app.kernel.locales import N_
from app.preferences.exporters.kinds import Row, RowShape
from training.formats import columns, steps
from training.formats.pairs import Stated
from training.formats.prompts import Split

if TYPE_CHECKING:
    from app.preferences.columns import Source

SHARED = ("annotation_id", "split")
OWN = (
    columns.Column("prompt", columns.TEXT, "what was asked, as one text"),
    columns.Column("completions", columns.ListOf(columns.TEXT), "the steps, to the first wrong one"),
    columns.Column("labels", columns.ListOf(columns.BOOL), "of each step whether it is right"),
    columns.Column("ratings", columns.ListOf(columns.INT8), "the same as it was said: 1 right, 0 neutral, -1 wrong"),
    columns.Column("source", columns.TEXT, "`human`: as sampled; `human_edit`: a person wrote what stands at the end"),
)


def _columns() -> tuple[columns.Column, ...]:
    known = {each.name: each for each in columns.COLUMNS}
    return (*OWN, *(known[name] for name in SHARED))


def _none(stated: Iterable[Stated[Any]], min_strength: int | None) -> Iterator[Stated[Any]]:  # noqa: ARG001 - has no pairs
    """Labels prefer nothing: a count of rows is one of labels (:func:`app.preferences.queries.count_labelled`)."""
    return iter(())


def _rows(source: Source, min_strength: int | None, *, flat: bool) -> tuple[Row, Iterator[Row]]:  # noqa: ARG001 - all is flat
    said = orjson.loads(source.selected["step_labels"])
    text = source.texts[0]
    cut = [text[each["starts"] : each["ends"]] for each in said]
    ratings = [each["label"] for each in said]
    variants = [("human", cut, ratings)]
    correction = said[-1]["correction"]
    if correction:
        right = steps.cut(correction)
        variants.append(("human_edit", [*cut[:-1], *right], [*ratings[:-1], *(1 for _ in right)]))
    asked = orjson.loads(source.selected["prompt"])
    made = ((steps.stepwise(asked, some, rated), rated, origin) for origin, some, rated in variants)
    return (
        {name: source.value(name) for name in SHARED},
        (row | {"ratings": rated, "source": origin} for row, rated, origin in made if row is not None),
    )


SHAPE = RowShape(
    label=N_("Stepwise: prompt, completions, labels"),
    purpose=N_(
        "Stepwise rows are for reward models that read every step: labels of steps, a further row for each right step that "
        "somebody wrote, and, unless you choose a split, only training prompts."
    ),
    side=Split.TRAIN,
    columns=_columns,
    pairs=_none,
    rows=_rows,
    shown={N_("Prompt"): "prompt", N_("Last step"): "completions", N_("Labels"): "labels"},
    labels_steps=True,
)
