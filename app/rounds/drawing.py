"""Where the marks of a chart stand; templates draw them as SVG, on the server.

Everything is in percent of width and height, so that a chart fills any width while its texts and dots keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.kernel.locales import gettext, number, percent
from app.rounds.better import Entry
from app.rounds.cards import Card, Look
from app.rounds.models import Contest
from app.rounds.rates import EVEN, HALF, Rate
from app.rounds.tally import DECIDES

LEFT, RIGHT = 9.0, 94.0
"""Percent of the width between which marks stand: the labels of the lines are to their left."""
TOP, BOTTOM = 9.0, 84.0
LABELLED = 4
"""Of so many rounds the values fit beside their marks on a narrow screen; of more only the last is written there."""


@dataclass(frozen=True)
class Line:
    """A horizontal line with its label."""

    y: float
    label: str
    strong: bool = False


@dataclass(frozen=True)
class Mark:
    """A rate as a dot on its interval. ``kind``: ``won`` filled, ``lost`` hollow, ``open`` dashed, ``plain`` small."""

    x: float
    y: float
    low: float
    high: float
    kind: str
    label: str


@dataclass(frozen=True)
class Chart:
    """Marks over the ticks of one axis; ``way`` joins some of them."""

    lines: list[Line]
    ticks: list[tuple[float, str]]
    marks: list[Mark]
    way: list[tuple[float, float]]
    crowded: bool


@dataclass(frozen=True)
class Curve:
    """A curve in its band, as points of polygons in a square of 100."""

    lines: list[Line]
    ticks: list[tuple[float, str]]
    curve: str
    band: str
    end: tuple[float, float]


@dataclass(frozen=True)
class RoundCharts:
    """The charts of the front page, one above the other over the same rounds; None where nothing is to be drawn."""

    over_base: Chart | None
    over_before: Chart | None
    accuracy: Chart | None


class _Axis:
    """From rates to percent of the height; the ends are tens, and one half lies on it."""

    def __init__(self, rates: Sequence[Rate]) -> None:
        ends = [end for rate in rates for end in (rate.value, rate.low, rate.high) if end is not None]
        self.low = math.floor(10 * min([*ends, HALF - 0.05])) / 10
        self.high = math.ceil(10 * max([*ends, HALF + 0.05])) / 10

    def place(self, share: float) -> float:
        return round(BOTTOM - (share - self.low) / (self.high - self.low) * (BOTTOM - TOP), 2)

    def lines(self) -> list[Line]:
        tens = range(round(10 * self.low), round(10 * self.high) + 1)
        step = 1 if len(tens) <= 5 else 2  # always through 50, which is an odd number of tens
        shown = [ten for ten in tens if (ten - 5) % step == 0]
        return [Line(self.place(ten / 10), percent(ten / 10), strong=ten == 5) for ten in shown]

    def mark(self, x: float, rate: Rate, kind: str) -> Mark:
        low, high = (rate.value if end is None else end for end in (rate.low, rate.high))
        return Mark(x, self.place(rate.value), self.place(low), self.place(high), kind, percent(rate.value))


def of_rounds(entries: Sequence[Entry]) -> RoundCharts:
    """Win rates over the base and over the one before, and accuracies, of the rounds that came to something."""
    told = [entry for entry in entries if entry.accuracy or entry.over_before or entry.round.verdict]
    if not told:
        return RoundCharts(None, None, None)
    width = (RIGHT - LEFT) / (len(told) + 1)
    columns = [round(LEFT + (index + 0.5) * width, 2) for index in range(len(told) + 1)]
    ticks = [(columns[0], "")] + [(x, str(entry.round.number)) for x, entry in zip(columns[1:], told, strict=True)]
    return RoundCharts(
        over_base=_chart(ticks, [entry.over_base for entry in told], [_kind(entry) for entry in told], way=True),
        over_before=_chart(ticks, [entry.over_before for entry in told], [_kind(entry) for entry in told]),
        accuracy=_chart(ticks, [entry.accuracy for entry in told], ["plain"] * len(told)),
    )


def _kind(entry: Entry) -> str:
    if entry.contest is not None and entry.contest.verdict is None:
        return "open"
    return "won" if entry.promoted else "lost"


def _chart(
    ticks: list[tuple[float, str]], rates: Sequence[Rate | None], kinds: Sequence[str], *, way: bool = False
) -> Chart | None:
    known = [rate for rate in rates if rate is not None]
    if not known:
        return None
    axis = _Axis(known)
    placed = zip(ticks[1:], rates, kinds, strict=True)
    marks = [axis.mark(x, rate, kind) for (x, _), rate, kind in placed if rate is not None]
    base = replace(axis.mark(ticks[0][0], EVEN, "plain"), label="")  # the axis says it
    return Chart(
        lines=axis.lines(),
        ticks=[(ticks[0][0], gettext("base")), *ticks[1:]] if way else ticks,
        marks=[base, *marks] if way else marks,
        way=[(mark.x, mark.y) for mark in (base, *marks) if mark.kind not in {"lost", "open"}] if way else [],
        crowded=len(rates) > LABELLED,
    )


# ── A contest ────────────────────────────────────────────────────────────────────────────────────────────────────────
def of_score(card: Card) -> Curve | None:
    """The score with its confidence sequence, over the observations."""
    if not card.looks:
        return None
    axis = _Axis([look.rate for look in card.looks[len(card.looks) // 3 :]])  # the first looks say nearly nothing
    ends = [(look.rate.low, look.rate.high) for look in card.looks]
    known = [
        (look, low, high)
        for look, (low, high) in zip(card.looks, ends, strict=True)
        if low is not None and high is not None
    ]

    def at(look: Look, share: float) -> tuple[float, float]:
        return _across(look, card.contest), axis.place(min(max(share, axis.low), axis.high))

    curve = [at(look, look.rate.value) for look in card.looks]
    band = [at(look, high) for look, _, high in known] + [at(look, low) for look, low, _ in reversed(known)]
    return Curve(axis.lines(), _counts(card.contest), _points(curve), _points(band), curve[-1])


def of_evidence(card: Card) -> Curve | None:
    """The evidence in its logarithm, over the observations, up to a little more than what is needed."""
    if not card.looks:
        return None
    needed = DECIDES
    top = math.log(max(needed, *(look.evidence for look in card.looks))) * 1.1

    def place(evidence: float) -> float:
        inner = max(0.0, math.log(max(evidence, 1.0))) / top
        return round(BOTTOM - inner * (BOTTOM - TOP), 2)

    curve = [(_across(look, card.contest), place(look.evidence)) for look in card.looks]
    lines = [Line(place(number), str(number), strong=number == needed) for number in (1, 2, 5, 10, 20)]
    return Curve(lines, _counts(card.contest), _points(curve), "", curve[-1])


def _across(look: Look, contest: Contest) -> float:
    return round(LEFT + look.counted / _reach(contest) * (RIGHT - LEFT), 2)


def _reach(contest: Contest) -> int:
    """Observations that the width stands for: what was counted, and while it is open a third more."""
    most = contest.counted if contest.verdict else max(40, contest.counted * 4 // 3)
    return max(1, min(most, max(contest.budget, contest.counted)))


def _counts(contest: Contest) -> list[tuple[float, str]]:
    reach = _reach(contest)
    step = next((each for each in (5, 10, 20, 25, 50, 100, 200, 500) if reach / each <= 6), 1_000)
    counts = range(0, reach + 1, step)
    return [(round(LEFT + count / reach * (RIGHT - LEFT), 2), number(count)) for count in counts]


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
