"""What ``benchmarks.round_with_findings`` came to, as docs/capabilities.md says it: kept, dropped, corrected, and the change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import findings_tasks as made
from benchmarks.findings_tasks import Answered
from benchmarks.rounds_add_up import documented, times
from training.formats import files
from training.measure import bootstrap
from training.measure.bootstrap import Interval

BEGIN, END = "<!-- round with findings: written by the benchmark -->", "<!-- round with findings: end -->"
TRIED, ROUND = "tried.json", "round.json"
BASE = "base"
POLICIES = {"sft": "imitation", "dpo": "policy"}
"""Runs that make a policy, in order, and what the page calls it."""
NOT_RUN = "not run"
TOLD = {"1": "once", "2": "twice"}
STAGES = {"0": "trying the base model", "1": "the round", "2": "asking afterwards"}


def asked(name: str) -> str:
    """The file of what the base model or a policy answered."""
    return f"asked-{name}.json"


def by_kind(answered: Sequence[Answered]) -> dict[str, Interval]:
    """How many tasks of each kind are solved."""
    return made.rates(answered, lambda task: task.kind)


def _said(file: Path) -> list[Answered] | None:
    return made.from_json(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


# ── The section ──────────────────────────────────────────────────────────────────────────────────────────────────────
def report(folder: Path) -> str:
    """What is finished, in Markdown; what is not says so."""
    of = json.loads((folder / ROUND).read_text(encoding="utf-8")) if (folder / ROUND).exists() else {}
    parts = [_tasks(folder), _counts(of), _gate(of), _change(folder), _minutes(folder, of)]
    return "\n\n".join(part for part in parts if part)


def _tasks(folder: Path) -> str:
    answered = _said(folder / TRIED)
    if answered is None:
        return f"The round is {NOT_RUN}."
    sizes = json.loads((folder / "sizes.json").read_text(encoding="utf-8"))
    rates = by_kind(answered)
    chosen = made.chosen({kind: rate.value for kind, rate in rates.items()})
    outside = [kind for kind in chosen if not made.LOW <= rates[kind].value <= made.HIGH]
    begun = (
        f"Before the round the base model answered {sizes['tried']} tasks of each kind; the round asks those of which it solves "
        f"{made.LOW:.0%} to {made.HIGH:.0%}: {sizes['prompts']} prompts, {sizes['sampled']} of them sampled at most, "
        f"{sizes['tokens']} tokens an answer. One seed ({sizes['seed']})."
    )
    if outside:
        begun += f" Of {', '.join(outside)} it solves less or more; nothing of the family is nearer."
    rows = [[kind, made.KINDS[kind], str(rate), "yes" if kind in chosen else ""] for kind, rate in rates.items()]
    return f"{begun}\n\n{_table(['kind', 'capability', 'solved by the base model', 'asked'], rows)}"


def _counts(of: Mapping[str, Any]) -> str:
    return f"**Kept, dropped, corrected**\n\n{_table(['what', 'answers'], list(_counted(of)))}"


def _counted(of: Mapping[str, Any]) -> Iterator[list[str]]:
    chosen, corrected = of.get("chosen"), of.get("corrected")
    if not chosen:
        yield ["sampled, dropped, kept", NOT_RUN]
    else:
        counts, dropped = chosen["counts"], chosen["dropped"]
        yield ["sampled answers", str(counts["samples"])]
        yield from (
            [f"dropped: {_rule(rule)}", str(count)] for rule, count in sorted(dropped.items(), key=_most) if count
        )
        yield ["prompts that an answer solves", str(counts["solved"])]
        yield ["prompts that no answer solves", str(counts["unsolved"])]
    if not corrected:
        yield ["corrected", NOT_RUN]
    else:
        yield ["unsolved prompts of which the model was told what is wrong", str(corrected["tried"])]
        rounds = ", ".join(f"{count} told {TOLD[number]}" for number, count in corrected["by_round"].items())
        yield ["corrected", f"{corrected['corrected']} ({rounds})"]
    if chosen:
        rows = {name.partition("/")[2]: count for name, count in chosen["counts"].items() if name.startswith("rows/")}
        yield from ([f"kept and learnt from: {source.replace('_', ' ')}", str(count)] for source, count in rows.items())


def _rule(name: str) -> str:
    kind, _, verifier = name.partition("/")
    return f"{kind} {verifier}" if verifier else name.replace("_", " ")


def _most(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _gate(of: Mapping[str, Any]) -> str:
    if not of:
        return f"**The gate**: {NOT_RUN}."
    words = [each["words"] for found in of["found"] for each in found if _is_of_checks(each)]
    ends = {"challenging": "It lets the policy through to people.", "complete": f"It refuses: {of['reason']}"}
    ending = ends.get(of["state"], of["reason"] or f"The round is {of['state']}.")
    return "\n".join(
        ["**The gate** on the held-out prompts of the batch:", "", *(f"- {each}" for each in words), f"- {ending}"]
    )


def _is_of_checks(found: Mapping[str, Any]) -> bool:
    return any(str(found["words"]).startswith(f"{family}:") for family in made.FAMILIES)


# ── What it changed ──────────────────────────────────────────────────────────────────────────────────────────────────
def _change(folder: Path) -> str:
    before = _said(folder / asked(BASE))
    rows = []
    for family in (*made.FAMILIES, "all"):
        for name, title in POLICIES.items():
            after = _said(folder / asked(name))
            found = None if before is None or after is None else change(before, after, family)
            rows.append(
                [
                    family,
                    title,
                    *(map(str, found) if found else [NOT_RUN, "", ""]),
                    str(found[0].prompts) if found else "",
                ]
            )
    head = ["capability", "after", "base model passes", "then passes", "change", "prompts"]
    how = (
        "Tasks that the installation has never seen, one answer each at temperature 0.7. The change is of the same prompts; "
        "95% intervals by bootstrap over prompts. An answer that cannot be checked does not pass."
    )
    return f"**Pass rates**\n\n{how}\n\n{_table(head, rows)}"


def change(
    before: Sequence[Answered], after: Sequence[Answered], family: str
) -> tuple[Interval, Interval, Interval] | None:
    """The pass rates of one family of tasks (or ``all``) before and after, and their difference prompt by prompt.

    None where there is no such task.

    Raises:
        ValueError: the two were not asked the same.
    """
    if [task for task, _ in before] != [task for task, _ in after]:
        raise ValueError("the two were not asked the same tasks")
    rows = [
        (task.prompt, float(old is True), float(new is True))
        for (task, old), (_, new) in zip(before, after, strict=True)
        if family in {task.family, "all"}
    ]
    if not rows:
        return None
    prompts = [prompt for prompt, *_ in rows]
    sides = ([old for _, old, _ in rows], [new for *_, new in rows], [new - old for _, old, new in rows])
    first, second, third = (bootstrap.mean(prompts, side) for side in sides)
    return first, second, third


def _minutes(folder: Path, of: Mapping[str, Any]) -> str:
    spent = [
        f"{said} {sum(line['seconds'] for line in times(folder) if line['what'].startswith(f'{stage} ')) / 60:.1f}"
        for stage, said in STAGES.items()
    ]
    if not of:
        return f"Minutes: {NOT_RUN}."
    runs = ", ".join(f"{run['kind']} {(run['seconds'] or 0) / 60:.1f}" for run in of["runs"])
    return f"Minutes: {', '.join(spent)} (of these {runs})."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def write(page: Path, folder: Path) -> None:
    """Put the section into the page that has the marks."""
    files.write_text(page, documented(page.read_text(encoding="utf-8"), report(folder), BEGIN, END))
