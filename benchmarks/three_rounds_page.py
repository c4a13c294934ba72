"""What the twins of ``benchmarks.three_rounds`` came to: a table for docs/evaluation.md, and its picture."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds_add_up import documented, once, times
from benchmarks.rules import POLITELY, Answer
from benchmarks.three_rounds_annotator import TWINS, win
from training.formats import files
from training.measure import bootstrap, plots
from training.measure.bootstrap import Interval

BEGIN, END = "<!-- three rounds: written by the benchmark -->", "<!-- three rounds: end -->"
SAID = "answers.json"
PICTURE = "images/three-rounds.svg"
HEAD = (
    *("twin", "round", "verdict", "score of the new policy", "evidence for, against", "prompts counted"),
    *(
        "reward model, held out",
        "held-out pairs",
        "minutes: answers",
        "reward model",
        "imitation",
        "DPO",
        "check",
        "all",
    ),
)
KINDS = ("reward", "sft", "dpo", "check")
NOT_RUN = "not run"
Night = dict[str, Any]


def night(number: int) -> str:
    """The file of what a round came to."""
    return f"night-{number}.json"


def nights(place: Path) -> list[Night]:
    """Of a twin, those that are finished, in order."""
    found = sorted(place.glob("night-*.json"), key=lambda file: int(file.stem.partition("-")[2]))
    return [json.loads(file.read_text(encoding="utf-8")) for file in found]


def over_base(place: Path) -> Interval | None:
    """How often the rule prefers the champion's answer to the base model's; None where they were not asked yet."""
    if not (place / SAID).exists():
        return None
    said = once(place / SAID, place, dict)
    return bootstrap.mean(list(said), [win(ours.text, base.text) for base, ours in said.values()])


# ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────────
def report(folder: Path) -> str:
    """What is finished, in Markdown."""
    sizes = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
    begun = (
        f"{sizes['prompts']} prompts a round with two answers each, at most {sizes['tokens']} tokens; 10 answers to each of "
        f"{sizes['sampled']} prompts are sampled for imitation. One seed ({sizes['seed']})."
    )
    rows = [cells for twin in TWINS for cells in _rows(folder / twin, twin, sizes["rounds"])]
    lines = [[*HEAD], ["---"] * len(HEAD), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    said = "\n".join(f"- *{twin}*: {_said(folder / twin)}" for twin in TWINS)
    return f"{begun}\n\n{table}\n\n{said}"


def _rows(place: Path, twin: str, rounds: int) -> Iterator[list[str]]:
    found = nights(place)
    for number in range(1, rounds + 1):
        cells = _cells(place, number, found[number - 1]) if number <= len(found) else [NOT_RUN, *[""] * (len(HEAD) - 3)]
        yield [twin, str(number), *cells]


def _cells(place: Path, number: int, of: Night) -> list[str]:
    contest = of["contest"] or {}
    score = contest.get("score")
    seconds = {run["kind"]: run["seconds"] or 0.0 for run in of["runs"]}
    reward: dict[str, Any] = next((run["metrics"] for run in of["runs"] if run["kind"] == "reward"), {})
    return [
        of["verdict"],
        _rate(score) if score else "",
        f"{contest['evidence']:.1f}, {contest['evidence_worse']:.1f}" if contest else "",
        str(contest["counted"]) if contest else "",
        _accuracy(reward),
        f"{reward['held_out/pairs']:.0f}" if "held_out/pairs" in reward else "",
        f"{spent(place, f'{number} answers') / 60:.1f}",
        *(f"{seconds[kind] / 60:.1f}" if kind in seconds else "" for kind in KINDS),
        f"{whole(place, number, of) / 60:.1f}",
    ]


def _rate(score: dict[str, Any]) -> str:
    value = f"{score['value']:.3f}"
    return value if score["low"] is None else f"{value} [{score['low']:.3f}, {score['high']:.3f}]"


def _accuracy(reward: dict[str, Any]) -> str:
    name = "held_out/accuracy"
    if name not in reward:
        return ""
    ends = [reward.get(f"{name}/{end}") for end in ("low", "high")]
    return _rate({"value": reward[name], "low": ends[0], "high": ends[1]})


def spent(place: Path, stage: str) -> float:
    """Seconds of what is called so, or begins so, whenever it was done."""
    return float(sum(line["seconds"] for line in times(place) if line["what"].startswith(stage)))


def whole(place: Path, number: int, of: Night) -> float:
    """Seconds of a round. Of its training the runs are asked, who know when they began even if we were interrupted."""
    others = spent(place, f"{number} ") - spent(place, f"{number} training")
    return others + sum(run["seconds"] or 0.0 for run in of["runs"])


def _said(place: Path) -> str:
    rate, found = over_base(place), nights(place)
    if rate is None:
        return f"{NOT_RUN} to its end."
    champion = found[-1]["champion"]
    who = "still the base model" if champion["kind"] == "base" else f"`{champion['name']}`"
    held = "above one half" if rate.low is not None and rate.low > 0.5 else "not above one half"
    minutes = (spent(place, SAID) + sum(whole(place, number, of) for number, of in enumerate(found, 1))) / 60
    base, ours = (_style([both[side] for both in once(place / SAID, place, dict).values()]) for side in (0, 1))
    return (
        f"after round {len(found)} the champion is {who}; the rule prefers its answers to the base model's on {rate} of "
        f"{rate.prompts} held-out prompts, the lower end {held}. Of its answers {ours}; of the base model's {base}. "
        f"{minutes:.0f} minutes in all."
    )


def _style(said: Sequence[Answer]) -> str:
    polite = statistics.mean(POLITELY.merit(each) for each in said)
    return f"{polite:.0%} open politely, with {statistics.mean(each.tokens for each in said):.1f} tokens on average"


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def write(page: Path, folder: Path) -> None:
    """Put table and picture into the page that has the marks."""
    picture = page.parent / PICTURE
    files.write_text(picture, draw(folder))
    alt = "Score of each round's policy in its contest, and of the last champion against the base model, with 95% intervals"
    table = f"{report(folder)}\n\n![{alt}]({PICTURE})"
    files.write_text(page, documented(page.read_text(encoding="utf-8"), table, BEGIN, END))


def draw(folder: Path) -> str:
    """Contests and the last comparison with the base, of each twin, one under the other."""
    ranges = []
    for twin in TWINS:
        for number, of in enumerate(nights(folder / twin), 1):
            score = (of["contest"] or {}).get("score")
            if score:
                ranges.append(plots.Range(f"{twin}, round {number}: {of['verdict']}", **score))
        rate = over_base(folder / twin)
        if rate is not None:
            ranges.append(plots.Range(f"{twin}, champion over base", rate.value, rate.low, rate.high))
    return plots.intervals("Win rates: each contest, and the last champion", ranges, 0.5)
