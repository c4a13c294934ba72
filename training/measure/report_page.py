"""An evaluation for people: lines on the terminal, and a page with a plot beside report.json."""

from collections.abc import Iterator, Mapping
from typing import Any

from training.measure.model_card import table
from training.measure.plots import Range, intervals

FIGURE = "intervals.svg"
SIDES = {"before_metrics": "before", "after_metrics": "after", "compared": "compared"}
# Shares that are drawn over one another, with what an answer by chance would give.
CHANCE = 0.5
SHARES = ("accuracy", "wins_accuracy", "win_rate", "longer_answer")

Report = Mapping[str, Any]


def lines(report: Report) -> Iterator[str]:
    """One number a line, with its interval."""
    for side, words in SIDES.items():
        if side in report:
            yield f"\n{words}"
        for name, found in report.get(side, {}).items():
            yield f"  {name:<44}{found['value']:>9.3f}{_ends(found):<20}  {found['prompts']} prompts"


def page(report: Report) -> str:
    """The report as Markdown; the same report gives the same bytes."""
    checkpoint, before = report["checkpoint"], report.get("before")
    against = f", against {_named(before)}" if before else ""
    judge = f" Rewards are those of {_named(report['reward_model'])}." if "reward_model" in report else ""
    starts = {_named(start) for start in report.get("started_from", {}).values()}
    measured_from = (
        f" KL is measured from what each was trained from, {' and '.join(sorted(starts))}." if starts else ""
    )
    data = report["data"]
    counts = [(name.replace("_", " "), f"{value:,}") for name, value in data.items() if isinstance(value, int)]
    counts += [(f"left out: {name.replace('_', ' ')}", str(count)) for name, count in data["left_out"].items() if count]
    settings = [(f"`{name}`", f"`{value}`") for name, value in report["settings"].items()]
    summary = f"{_named(checkpoint)}{against}, as it is served, on held-out prompts.{judge}{measured_from}"
    parts = [
        f"# {checkpoint['name']}, measured",
        f"{summary} In brackets 95% intervals by bootstrap over prompts; docs/evaluation.md explains each number.",
        f"![Shares with their intervals]({FIGURE})",
        table(("", *_columns(report), "prompts"), list(_rows(report))),
        "## Data",
        table(("", "count"), [*counts, ("SHA-256", f"`{data['sha256']}`")]),
        "## Settings",
        table(("setting", "value"), settings),
    ]
    return "\n\n".join(parts) + "\n"


def figure(report: Report) -> str:
    """Every share of the report beside what chance would give."""
    found = [
        Range(f"{name.removeprefix('held_out/')}{f', {words}' if words == 'before' else ''}", *_interval(value))
        for side, words in SIDES.items()
        for name, value in report.get(side, {}).items()
        if name.endswith(SHARES) or "/accuracy/" in name
    ]
    return intervals(report["checkpoint"]["name"], found, CHANCE)


def _columns(report: Report) -> list[str]:
    return ["before", "after"] if "before_metrics" in report else ["after"]


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
    sides = [report[f"{column}_metrics"] for column in _columns(report)]
    for name in dict.fromkeys(name for side in sides for name in side):
        cells = [_cell(side.get(name)) for side in sides]
        yield f"`{name}`", *cells, str(next(side[name] for side in sides if name in side)["prompts"])
    for name, found in report["compared"].items():  # of both together
        yield f"`{name}`", *([""] * (len(sides) - 1)), _cell(found), str(found["prompts"])


def _cell(found: Mapping[str, Any] | None) -> str:
    return f"{found['value']:.3f}{_ends(found).replace('  ', ' ')}" if found else "—"


def _ends(found: Mapping[str, Any]) -> str:
    return "" if found["low"] is None else f"  [{found['low']:.3f}, {found['high']:.3f}]"


def _interval(found: Mapping[str, Any]) -> tuple[float, float | None, float | None]:
    return found["value"], found["low"], found["high"]


def _named(one: Mapping[str, Any]) -> str:
    return f"{one['name']} (`{one['manifest_sha256'][:16]}`)" if one["manifest_sha256"] else str(one["name"])
