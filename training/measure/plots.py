"""Small plots as SVG, written by hand: nothing to install, a few kilobytes, sharp at any size, the same bytes every time.

Colours follow the reader's light or dark theme, and lines differ by their dashes, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PANEL_WIDTH, PANEL_HEIGHT = 340, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 34
TICKS = 4
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-weight: 600; fill: #24292f }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00; stroke-dasharray: 6 3 }
.s2 { stroke: #1a7f37; fill: #1a7f37; stroke-dasharray: 2 3 } .bar { stroke-dasharray: none; stroke-width: 2 }
path.line { fill: none } tspan.s0, tspan.s1, tspan.s2 { stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #9198a1 } .title { fill: #f0f6fc } .grid { stroke: #3d444d }
.s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #db6d28; fill: #db6d28 } .s2 { stroke: #3fb950; fill: #3fb950 } }
"""


@dataclass(frozen=True)
class Line:
    """Points of one line, by x."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One plot: up to three lines over one x axis. `floor` and `ceiling` are shown even where no point is near."""

    title: str
    lines: tuple[Line, ...]
    x_label: str = "step"
    floor: float | None = None
    ceiling: float | None = None


@dataclass(frozen=True)
class Range:
    """A value with its interval, where it has one, for `intervals`."""

    name: str
    value: float
    low: float | None
    high: float | None


def panels(plots: Sequence[Panel]) -> str:
    """The plots side by side, two in a row; those without a point are left out."""
    shown = [plot for plot in plots if any(line.points for line in plot.lines)]
    columns = min(2, max(1, len(shown)))
    width, height = columns * PANEL_WIDTH, math.ceil(len(shown) / columns) * PANEL_HEIGHT
    body = [
        f'<g transform="translate({index % columns * PANEL_WIDTH} {index // columns * PANEL_HEIGHT})">\n{_panel(plot)}</g>\n'
        for index, plot in enumerate(shown)
    ]
    return _document(width, height, ", ".join(plot.title for plot in shown), "".join(body))


def intervals(title: str, ranges: Sequence[Range], reference: float) -> str:
    """A dot with its interval for each value, one under the other, and a line at what chance would give."""
    left, step = 210, 24
    height = TOP + step * len(ranges) + BOTTOM
    ends = [end for one in ranges for end in (one.value, one.low, one.high, reference) if end is not None]
    low, high, ticks = _scale(min(ends, default=0.0), max(ends, default=1.0))

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (2 * PANEL_WIDTH - left - 60)

    parts = [f'<text class="title" x="{RIGHT}" y="20">{escape(title)}</text>\n']
    for tick in ticks:
        parts.append(_segment("grid", x(tick), TOP, x(tick), height - BOTTOM))
        parts.append(f'<text x="{x(tick):.1f}" y="{height - 14}" text-anchor="middle">{_number(tick)}</text>\n')
    parts.append(_segment("line s1", x(reference), TOP, x(reference), height - BOTTOM))
    parts.append(f'<text x="{x(reference):.1f}" y="{TOP - 6}" text-anchor="middle">chance</text>\n')
    for index, one in enumerate(ranges):
        y = TOP + step * (index + 0.5)
        parts.append(f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(one.name)}</text>\n')
        if one.low is not None and one.high is not None:
            parts.append(_segment("line bar s0", x(one.low), y, x(one.high), y))
        parts.append(f'<circle class="s0" cx="{x(one.value):.1f}" cy="{y:.1f}" r="4"/>\n')
    return _document(2 * PANEL_WIDTH, height, title, "".join(parts))


def _panel(plot: Panel) -> str:
    points = [point for line in plot.lines for point in line.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    ends = [*ys, *(end for end in (plot.floor, plot.ceiling) if end is not None)]
    low, high, ticks = _scale(min(ends), max(ends))
    first, last = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - first) / (last - first) * (PANEL_WIDTH - LEFT - RIGHT),
            PANEL_HEIGHT - BOTTOM - (y - low) / (high - low) * (PANEL_HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<text class="title" x="{LEFT}" y="20">{escape(plot.title)}</text>\n']
    for tick in ticks:
        _, y = place(first, tick)
        parts.append(_segment("grid", LEFT, y, PANEL_WIDTH - RIGHT, y))
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>\n')
    for x, anchor in ((first, "start"), (last, "end")):
        left, _ = place(x, low)
        parts.append(f'<text x="{left:.1f}" y="{PANEL_HEIGHT - 14}" text-anchor="{anchor}">{_number(x)}</text>\n')
    middle = (LEFT + PANEL_WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{PANEL_HEIGHT - 14}" text-anchor="middle">{escape(plot.x_label)}</text>\n')
    shown = [
        (index, line) for index, line in enumerate(plot.lines) if line.points
    ]  # a line keeps its look in every panel
    for index, line in shown:
        placed = [place(x, y) for x, y in line.points]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        parts.append(f'<path class="line s{index}" d="M{path}"/>\n')
        if len(placed) < 12:
            parts += [f'<circle class="s{index}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>\n' for x, y in placed]
    if len(plot.lines) > 1:
        spans = [f'<tspan class="s{index}" dx="8">{escape(line.name)}</tspan>' for index, line in shown]
        parts.append(f'<text x="{PANEL_WIDTH - RIGHT}" y="20" text-anchor="end">{"".join(spans)}</text>\n')
    return "".join(parts)


def _scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Ends that are round in their own scale and apart from each other, and the ticks from one to the other."""
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS + 1)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [number * step for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}" if abs(value) > 1e-9 else "0"


def _segment(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>\n'


def _document(width: int, height: int, title: str, body: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n{body}</svg>\n'
    )
