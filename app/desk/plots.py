"""What the plots of the team show, as tables: the page holds these, and the script draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.desk import team
from app.desk.counting import Counts, total
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext, number, percent
from app.quality.statistics import Share

TOP = 4
"""People with a colour of their own: those who did most."""


class Kind(StrEnum):
    """How a table is drawn."""

    STACK = "stack"
    """A bar a row, its columns on top of each other."""
    LINE = "line"
    BAND = "band"
    """The first column as a line, the other two as the ends of its intervals, in percent."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as it is drawn, None where there is none, and as it is read."""

    value: float | None
    text: str


@dataclass(frozen=True)
class Plot:
    """A table that is drawn: a row a day or a week."""

    id: str
    kind: Kind
    title: str
    note: str
    first: str
    """What the rows are."""
    columns: Sequence[str]
    """Of numbers."""
    rows: Sequence[tuple[date, Sequence[Cell]]]


def throughput(counts: Counts, labels: Mapping[int, str]) -> Plot:
    """Items by day, those of who did most by themselves; ``labels`` name people."""
    people = [who for who in counts.people if who in labels]
    top, others = people[:TOP], people[TOP:]
    columns = [labels[who] for who in top] + ([_others(len(others))] if others else [])
    rows = []
    for day in counts.days:
        of_day = counts.by_day.get(day, {})
        items = [of_day[who].items if who in of_day else 0 for who in top]
        if others:
            items.append(total(of_day[who] for who in others if who in of_day).items)
        rows.append((day, [_items(each) for each in items]))
    note = _("by person") if len(columns) == 1 else _("by person, from top to bottom as in the legend")
    return Plot("throughput", Kind.STACK, _("Items by day"), note, _("Day"), columns, rows)


def items(counts: Counts) -> Plot:
    """Items by day, of whoever the counts are of."""
    rows = [(day, [_items(counts.of_day(day).items)]) for day in counts.days]
    return Plot("throughput", Kind.STACK, _("Items by day"), "", _("Day"), [_("Items")], rows)


def times(counts: Counts) -> Plot:
    """The median time of an item by day."""
    rows = [
        (
            day,
            [
                Cell(
                    seconds and round(seconds, 1),
                    _("too few to tell") if seconds is None else _("{n} s", n=number(seconds)),
                )
            ],
        )
        for day, seconds in team.medians(counts)
    ]
    note = _("median of the active seconds, of days with ten timed items or more")
    return Plot("times", Kind.LINE, _("Time per item"), note, _("Day"), [_("Median seconds")], rows)


def gold(weeks: Sequence[tuple[date, Share]]) -> Plot:
    """Agreement with known answers by week."""
    rows = []
    for week, share in weeks:
        low, high = share.interval
        whole, lowest, highest = (percent(round(each) / 100) for each in (share.percent, low, high))
        words = (_("{share} ({k} of {of})", share=whole, k=share.k, of=share.n), lowest, highest)
        numbers = (share.percent, low, high)
        rows.append((week, [Cell(round(each, 1), said) for each, said in zip(numbers, words, strict=True)]))
    columns = [_("Known answers matched"), _("From"), _("To")]
    return Plot(
        "gold", Kind.BAND, _("Known answers by week"), _("with the 95% interval"), _("Week from"), columns, rows
    )


def _items(count: int) -> Cell:
    return Cell(count, number(count))


def _others(count: int) -> str:
    return ngettext("{n} other", "{n} others", count)
