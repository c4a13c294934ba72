"""Which way of training a round keeps what earlier rounds taught: three rounds, each of which plants one more rule.

    python -m benchmarks.rounds_add_up --folder FOLDER                 three seeds; given again, it goes on where it was
    python -m benchmarks.rounds_add_up --folder FOLDER --seeds 1       one
    python -m benchmarks.rounds_add_up --folder FOLDER --write docs/evaluation.md    what is finished, into the page

Rounds of preferences (`benchmarks/rules.py`) are learnt in four ways, with the laptop recipe but for epochs and smaller steps:

    this round alone     DPO on the newest round, a fresh adapter
    all rounds           DPO on all rounds, of which the newest weighs three times as much, a fresh adapter
    the paper's order    fine-tuning on edits and best responses of all rounds, then DPO on the newest
    going on             DPO on the newest round, from the adapter of the round before

After the third round each policy answers held-out prompts, and each rule judges its answers against those of the base model:
a win rate of one half says that nothing of the rule is left. *Kept* is the mean over the rules of the first two rounds.
Intervals are by bootstrap over prompts, and the ways are compared on the same prompts.
"""

import argparse
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import planted, rules
from benchmarks.budget import Budget, verdict
from benchmarks.rules import Answer
from training import base_model
from training.data.chat import encode_chat
from training.formats import checkpoints, files
from training.measure import bootstrap, inference
from training.measure.bootstrap import Interval
from training.model import models

T = TypeVar("T")

PAIRS, ASKED, EPOCHS, MAX_TOKENS, TEMPERATURE = 70, 200, 2.0, 64, 0.7
BATCH = 40  # prompts that are answered at once
ROWS_A_STEP = 2  # half the recipe's, so that few pairs move the model as far as a round should
NEWEST_WEIGHT = 3.0  # within a step; of steps that hold old rows alone it changes nothing
MINUTES, CORES = 90, 2
HEAD = (
    "way",
    "first round's rule",
    "second's",
    "newest",
    "kept",
    "kept, seed by seed",
    "below the best",
    "CPU minutes",
)
BEGIN, END = "<!-- rounds add up: written by the benchmark -->", "<!-- rounds add up: end -->"
NEWEST = {"latest_rounds": 1}
SAVES = {"save_steps": 30}  # what an interruption costs at most


@dataclass(frozen=True)
class Step:
    """One training: on the rounds up to `upto`, of which `data` takes its part; `parent` is the step that it goes on from."""

    name: str
    kind: str
    upto: int
    data: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None


WAYS: dict[str, tuple[Step, ...]] = {
    "this round alone": (Step("alone", "dpo", 3, NEWEST),),
    "all rounds": (Step("all", "dpo", 3, {"newest_weight": NEWEST_WEIGHT}),),
    "the paper's order": (Step("imitates", "sft", 3), Step("paper", "dpo", 3, NEWEST, "imitates")),
    "going on": (
        Step("first", "dpo", 1, NEWEST),
        Step("second", "dpo", 2, NEWEST, "first"),
        Step("third", "dpo", 3, NEWEST, "second"),
    ),
}
"""The last step of each makes the policy that is asked."""


@dataclass(frozen=True)
class Sizes:
    """What a folder was begun with; results of other sizes are not put beside each other."""

    pairs: int
    asked: int
    epochs: float
    max_tokens: int = MAX_TOKENS
    rows_a_step: int = ROWS_A_STEP


def main() -> int:
    """Train and ask what is missing, then print the table; exit with 1 where it took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/rounds-add-up"), help="what is finished is kept here")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="of each round")
    parser.add_argument("--asked", type=int, default=ASKED, help="held-out prompts")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--write", type=Path, metavar="PAGE", help="only put the table of what is finished into a page")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    if options.write:
        page = documented(options.write.read_text(encoding="utf-8"), report(folder))
        files.write_text(options.write, page)
        return 0
    begin(folder, Sizes(options.pairs, options.asked, options.epochs))
    base_model.convert(folder / "base")
    print(f"{options.pairs} pairs a round, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    said = once(folder / "base.json", folder, lambda: answers_of_the_base(folder))
    for seed in range(1, options.seeds + 1):
        one_seed(folder, seed, options, said)
        print(f"\n{report(folder)}\n", flush=True)
    spent = sum(line["cpu"] for line in times(folder)) / 60 / CORES
    return verdict(Budget(f"processor time, of {CORES} cores", spent, MINUTES, "min"))


def begin(folder: Path, sizes: Any) -> None:
    """With a dataclass of sizes: make the folder, or refuse to go on in one of other sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sizes.json"
    if not file.exists():
        files.write_json(file, asdict(sizes))
    if json.loads(file.read_text()) != asdict(sizes):
        raise SystemExit(f"{folder} was begun with {file.read_text().split()}: name another folder")


# ── One seed ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def one_seed(folder: Path, seed: int, options: argparse.Namespace, said: dict[str, list[Answer]]) -> None:
    """Train and ask every way with the rounds of one seed."""
    place = folder / f"seed-{seed}"
    place.mkdir(exist_ok=True)
    asked, prompts = split(list(said), options.asked, seed)
    rows = rules.rounds(said, prompts, options.pairs, seed)
    for upto in (1, 2, 3):
        lines = [json.dumps(row) + "\n" for row in rows if row["round"] <= upto]
        files.write_text(place / f"rounds-{upto}.jsonl", "".join(lines))
    for steps in WAYS.values():
        for step in steps:
            learn(folder, place, step, seed, options.epochs)
        last = place / steps[-1].name
        once(last / "answers.json", folder, partial(ask, folder, last / "final", asked, seed))


def split(prompts: Sequence[str], asked: int, seed: int) -> tuple[list[str], list[str]]:
    """Those that are held out and those that rounds are made of, drawn by the seed."""
    drawn = random.Random(seed).sample(sorted(prompts), len(prompts))
    return drawn[:asked], drawn[asked:]


def learn(folder: Path, place: Path, step: Step, seed: int, epochs: float) -> None:
    """Run `python -m training.<kind>`, unless it has finished; one that was interrupted goes on."""
    run = place / step.name
    if (run / "final" / checkpoints.MANIFEST).exists():
        return
    settings: dict[str, Any] = {
        "seed": seed,
        "snapshot": f"../rounds-{step.upto}.jsonl",
        "base_model": "../../base",
        "output": "final",
        "name": f"{step.name}-{seed}",
    }
    if step.parent:
        settings["parent_adapter"] = f"../{step.parent}/final"
    tables = {
        "data": step.data,
        "optim": {"epochs": epochs, "batch_size": ROWS_A_STEP},
        "evaluation": {"every_steps": 0},
        "checkpointing": SAVES,
    }
    with_time(folder, f"{place.name}/{step.name}", lambda: planted.run(run, step.kind, settings, tables))


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def answers_of_the_base(folder: Path) -> dict[str, list[Answer]]:
    """Two answers of the base model to every prompt that the project ships for this."""
    prompts = [question.format(subject) for subject in planted.SUBJECTS for question in planted.QUESTIONS]
    drawn = [sample(inference.base(str(folder / "base")), prompts, seed) for seed in (1, 2)]
    return {prompt: list(both) for prompt, *both in zip(prompts, *drawn, strict=True)}


def ask(folder: Path, checkpoint: Path, prompts: Sequence[str], seed: int) -> dict[str, list[Answer]]:
    """One answer of a policy to each prompt."""
    policy = inference.served(checkpoint, "policy", base_model=str(folder / "base"))
    return {prompt: [answer] for prompt, answer in zip(prompts, sample(policy, prompts, 1000 + seed), strict=True)}


def sample(source: inference.Served, prompts: Sequence[str], seed: int) -> list[Answer]:
    """An answer to each prompt, drawn by the seed."""
    tokenizer = models.load_tokenizer(source.base_model)
    ids = [encode_chat(tokenizer, [{"role": "user", "content": text}], add_generation_prompt=True) for text in prompts]
    policy = inference.Policy(source, tokenizer, BATCH)
    drawn = policy.sample(ids, max_new_tokens=MAX_TOKENS, temperature=TEMPERATURE, seed=seed)
    return [Answer(one.text, len(one.ids), one.ended) for one in drawn]


# ── What is kept on the disk ─────────────────────────────────────────────────────────────────────────────────────────
def once(file: Path, folder: Path, make: Callable[[], dict[str, list[Answer]]]) -> dict[str, list[Answer]]:
    """Answers by prompt from the file; where it is not there they are made and written, whole or not at all."""
    if not file.exists():
        name = str(file.relative_to(folder))
        made = with_time(folder, name, make)
        files.write_json(file, {prompt: [asdict(answer) for answer in said] for prompt, said in made.items()})
    known = json.loads(file.read_text(encoding="utf-8"))
    return {prompt: [Answer(**answer) for answer in said] for prompt, said in known.items()}


def with_time(folder: Path, name: str, work: Callable[[], T]) -> T:
    """Do it, and write down what it took, so that the time of a run that was interrupted is known, too."""
    began, before = time.monotonic(), processor()
    result = work()
    line = {"what": name, "seconds": time.monotonic() - began, "cpu": processor() - before}
    with (folder / "times.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    print(f"{name:<28}{line['seconds']:>8.0f} s{line['cpu']:>8.0f} CPU-s", flush=True)
    return result


def processor() -> float:
    """CPU seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def times(folder: Path) -> list[dict[str, Any]]:
    """What each finished step took."""
    file = folder / "times.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


# ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────────
Wins = dict[str, tuple[float, ...]]
"""By seed and prompt: the win of the rule of the first, of the second and of the newest round."""


def wins(folder: Path, way: str) -> Wins:
    """Of all seeds in which every way was asked."""
    said = once(folder / "base.json", folder, dict)
    found: Wins = {}
    for place in sorted(folder.glob("seed-*")):
        if not all((place / steps[-1].name / "answers.json").exists() for steps in WAYS.values()):
            continue
        order = rules.in_order(int(place.name.removeprefix("seed-")))
        answers = once(place / WAYS[way][-1].name / "answers.json", folder, dict)
        for prompt, [answer] in answers.items():
            found[f"{place.name}\t{prompt}"] = tuple(rule.win(answer, said[prompt][0]) for rule in order)
    return found


def kept(found: Wins) -> list[float]:
    """Of each seed and prompt, the mean over the rules of the first two rounds."""
    return [statistics.mean(row[:-1]) for row in found.values()]


def mean(found: Wins, values: Iterable[float]) -> Interval:
    """With its interval over prompts: what seeds have in common stands or falls together."""
    return bootstrap.mean([key.partition("\t")[2] for key in found], list(values))


def report(folder: Path) -> str:
    """The table in Markdown, and which way keeps most."""
    found = {way: wins(folder, way) for way in WAYS}
    if not all(found.values()):
        return "No seed is finished yet."
    best, *others = sorted(WAYS, key=lambda way: -statistics.mean(kept(found[way])))
    lines = [[*HEAD], ["---"] * len(HEAD), *(row(folder, found, way, best) for way in (best, *others))]
    lead = behind(found, others[0], best)
    clear = lead.low is not None and lead.low > 0
    said = (
        f"keeps more than every other: the nearest, {others[0]}, is {lead} below" if clear else "is not clearly ahead"
    )
    sizes = json.loads((folder / "sizes.json").read_text())
    seeds = len({key.partition("\t")[0] for key in next(iter(found.values()))})
    begun = f"{seeds} of 3 seeds, {sizes['pairs']} pairs a round, {sizes['asked']} held-out prompts"
    begun += f", {sizes['epochs']:g} epochs in steps of {sizes['rows_a_step']} rows"
    return "\n".join(
        [
            f"{begun}.",
            "",
            *(f"| {' | '.join(cells)} |" for cells in lines),
            "",
            f"Of what earlier rounds taught, **{best}** {said}.",
        ]
    )


def behind(found: dict[str, Wins], way: str, best: str) -> Interval:
    """How much less a way keeps than the best, on the same prompts."""
    both = zip(kept(found[best]), kept(found[way]), strict=True)
    return mean(found[best], [one - other for one, other in both])


def row(folder: Path, found: dict[str, Wins], way: str, best: str) -> list[str]:
    """One way."""
    its = found[way]
    by_seed: dict[str, list[float]] = {}
    for key, value in zip(its, kept(its), strict=True):
        by_seed.setdefault(key.partition("\t")[0], []).append(value)
    steps = {f"{seed}/{step.name}" for seed in by_seed for step in WAYS[way]}
    cost = sum(line["cpu"] for line in times(folder) if line["what"] in steps) / 60 / len(by_seed)
    return [
        way,
        *(str(mean(its, [values[place] for values in its.values()])) for place in range(len(rules.RULES))),
        str(mean(its, kept(its))),
        ", ".join(f"{statistics.mean(values):.3f}" for values in by_seed.values()),
        "" if way == best else str(behind(found, way, best)),
        f"{cost:.1f}",
    ]


def documented(page: str, table: str, begin_mark: str = BEGIN, end_mark: str = END) -> str:
    """The page with the table between its two marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begun, rest = page.partition(begin_mark)
    _, ended, after = rest.partition(end_mark)
    if not begun or not ended:
        raise ValueError(f"the page needs the lines {begin_mark} and {end_mark} around its table")
    return f"{before}{begin_mark}\n\n{table}\n\n{end_mark}{after}"


if __name__ == "__main__":
    sys.exit(main())
