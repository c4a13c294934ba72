"""Sums a tally up for people: annotations and pairs, by what they differ in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.judgements.vocabulary import STRONGEST_FIRST, Outcome
from app.kernel.locales import gettext as _
from app.preferences.exporters import Shape
from app.preferences.forms import SIDES
from app.preferences.queries import Tally


@dataclass(frozen=True)
class Count:
    """One line of a table: so many annotations, which give so many pairs."""

    label: str
    annotations: int
    pairs: int


@dataclass(frozen=True)
class Counts:
    """All there is, and the same by outcome, split, batch and round; pairs by strength."""

    annotations: int
    edited: int
    written: int
    """Answers that were written from scratch: they give no pair."""
    pairs: int
    strengths: list[tuple[str, int]]
    outcomes: list[Count]
    splits: list[Count]
    batches: list[Count]
    rounds: list[Count]


def export_rows(rows: Sequence[Tally], shape: Shape, min_strength: int | None) -> int:
    """How many rows an export of these annotations has: ties are rows of the canonical shape, edits are rows of TRL's."""
    return sum(row.rows(shape, min_strength) for row in rows)


def sum_up(rows: Sequence[Tally], min_strength: int | None = None) -> Counts:
    """Add the rows up; pairs below ``min_strength`` do not count, nor annotations that have no other."""
    least = min_strength or 1
    rows = [row for row in rows if row.rows(Shape.CANONICAL, min_strength)]
    strengths: Counter[int] = Counter()
    for row in rows:
        strengths.update({strength: count for strength, count in row.pairs().items() if strength >= least})
    return Counts(
        annotations=sum(row.annotations for row in rows),
        edited=sum(row.annotations for row in rows if row.edited),
        written=sum(row.annotations for row in rows if row.outcome is Outcome.WRITTEN),
        pairs=strengths.total(),
        strengths=[(strength.label, strengths[strength]) for strength in STRONGEST_FIRST],
        outcomes=_by(rows, lambda row: row.outcome.label, least),
        splits=_by(rows, lambda row: _(SIDES[row.split]).capitalize(), least),
        batches=_by(rows, lambda row: row.batch, least),
        rounds=_by(rows, lambda row: _("Round {n}", n=row.round), least),
    )


def _by(rows: Sequence[Tally], key: Callable[[Tally], str], least: int) -> list[Count]:
    annotations: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for row in rows:
        annotations[key(row)] += row.annotations
        pairs[key(row)] += sum(count for strength, count in row.pairs().items() if strength >= least)
    return [Count(label, annotations[label], pairs[label]) for label in sorted(annotations)]
