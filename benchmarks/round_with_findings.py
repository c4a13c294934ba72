"""One real round that learns from findings: filter, correction and gate, on generated sums and forms of answers.

    python -m benchmarks.round_with_findings --folder FOLDER          given again, it goes on where it was
    python -m benchmarks.round_with_findings --folder FOLDER --write docs/capabilities.md    what is finished, into the page

First the base model answers some tasks of every kind (``benchmarks.findings_tasks``), and the round is played with the kinds of
which it solves 20 to 60%. Then an installation of its own is started (``benchmarks.real_rounds``): a batch of such tasks requires
the checks, a program prefers the answer that passes to the one that fails, and a training is started. Sampling, the filter,
self-correction, imitation, DPO and the gate are the product's. People's contest behind the gate is left out:
``benchmarks.three_rounds`` plays it.

Afterwards base model, imitation and policy answer tasks that the installation has never seen, once each, and the checks say which
answers pass. The change is of the same prompts, with its interval by bootstrap over prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks import findings_tasks as made
from benchmarks import round_with_findings_page as page
from benchmarks.budget import Budget, verdict
from benchmarks.findings_tasks import Answered, Task
from benchmarks.real_rounds import Site, settings_of
from benchmarks.rounds_add_up import BATCH, TEMPERATURE, begin, times
from training import base_model
from training.data.chat import encode_chat
from training.formats import files
from training.measure import inference
from training.model import models
from workers.verifiers.checker import Checker
from workers.verifiers.protocol import case_of

TRIED, PROMPTS, ASKED, SAMPLED, SAMPLES, CHECKED, TOKENS, SEED = 32, 160, 120, 100, 8, 40, 48, 17
HELD_OUT = 25
"""Percent of the prompts of the batch, which the gate measures on."""
MINUTES = 45
STRENGTH = 3
"""Of an answer that passes over one that fails; 3 of 4 is what training learns from."""


@dataclass(frozen=True)
class Sizes:
    """What a folder was begun with; results of other sizes are not put beside each other."""

    tried: int
    prompts: int
    asked: int
    sampled: int
    tokens: int
    seed: int

    @property
    def settings(self) -> dict[str, str]:
        """Those of the installation."""
        return settings_of(
            held_out=HELD_OUT, samples=SAMPLES, sampled=self.sampled, checked=CHECKED, tokens=self.tokens
        )


def main() -> int:
    """Play what is missing, then print what came of it; exit with 1 where it took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("var/round-with-findings"), help="what is finished is here")
    parser.add_argument("--tried", type=int, default=TRIED, help="tasks of each kind that the base model is tried on")
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="of the round")
    parser.add_argument("--asked", type=int, default=ASKED, help="held-out tasks at the end")
    parser.add_argument("--sampled", type=int, default=SAMPLED, help="prompts that are sampled for imitation")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer, at most")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="that it may take in all; then it stops")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="only put what is finished into a page")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    if options.write:
        page.write(options.write, folder)
        return 0
    sizes = Sizes(**{size.name: getattr(options, size.name) for size in fields(Sizes)})
    begin(folder, sizes)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the installation is stopped, too
    print(f"{sizes.prompts} prompts, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    Play(folder, sizes, 60 * options.minutes - _spent(folder)).play()
    print(f"\n{page.report(folder)}\n", flush=True)
    return verdict(Budget("the round", _spent(folder) / 60, options.minutes, "min"))


def _spent(folder: Path) -> float:
    """Seconds of the steps that are finished."""
    return float(sum(line["seconds"] for line in times(folder)))


class Play(Site):
    """The installation, and what is asked before and after it."""

    def __init__(self, folder: Path, sizes: Sizes, seconds: float | None = None) -> None:
        super().__init__(folder, sizes.settings, seconds)
        self.sizes = sizes
        self.tasks: dict[str, Task] = {}

    def play(self) -> None:
        """All that is not finished yet."""
        base_model.convert(self.place / "base")
        solved = kept(self.place / page.TRIED, lambda: made.as_json(self._tried()))
        kinds = made.chosen({name: rate.value for name, rate in page.by_kind(solved).items()})
        told = made.tasks(kinds, self.sizes.prompts, self.sizes.seed)
        self.tasks = {task.prompt: task for task in told}
        asked = made.tasks(kinds, self.sizes.asked, self.sizes.seed + 1, without=list(self.tasks))
        if not (self.place / page.ROUND).exists():
            with self.up():
                self._round(told)
        self._ask(asked)

    # ── Before ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def _tried(self) -> list[Answered]:
        tried = [task for kind in made.KINDS for task in made.tasks([kind], self.sizes.tried, self.sizes.seed + 2)]
        answered: list[Answered] = []
        self.timed("0 tried", lambda: answered.extend(self._answered(None, tried)))
        return answered

    # ── The round ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _round(self, told: Sequence[Task]) -> None:
        required = list(made.FAMILIES.values())
        settings = {
            "max_tokens": self.sizes.tokens,
            "temperature": TEMPERATURE,
            "verifiers": required,
            "required": required,
        }
        with Checker() as checker:
            self.collect(1, [task.record() for task in told], settings, lambda item: self._judgement(checker, item))
        self.timed("1 training", lambda: self.train(1))
        files.write_json(self.place / page.ROUND, self._facts())

    def _judgement(self, checker: Checker, item: dict[str, Any]) -> dict[str, Any]:
        task = self.tasks[item["prompt"]["messages"][-1]["content"]]
        return judgement([passes(checker, task, each["text"]) for each in item["responses"]])

    def _facts(self) -> dict[str, Any]:
        runs = self.runs(1)
        imitates = next((run["id"] for run in runs if run["kind"] == "sft"), None)
        place = self.corral.data_dir / "runs" / f"run-{imitates}"
        return {
            "state": self.round(1)["state"],
            "reason": self.refused(1) or self.round(1).get("verdict_reason") or "",
            "runs": [{name: run[name] for name in ("kind", "state", "seconds", "path")} for run in runs],
            "found": self.found(1),
            "chosen": _read(place / "sft.report.json"),
            "corrected": _read(place / "corrections.report.json"),
        }

    # ── After ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _ask(self, asked: Sequence[Task]) -> None:
        """Base model, imitation and policy, the same tasks each."""
        of = json.loads((self.place / page.ROUND).read_text(encoding="utf-8"))
        paths = {page.BASE: None} | {run["kind"]: run["path"] for run in of["runs"] if run["kind"] in page.POLICIES}
        for name, path in paths.items():
            file = self.place / page.asked(name)
            if not file.exists() and (path or name == page.BASE):
                answered: list[Answered] = []
                self.timed(f"2 asking {name}", lambda: answered.extend(self._answered(path, asked)))  # noqa: B023
                files.write_json(file, made.as_json(answered))

    def _base(self) -> Path:
        """The installation's base model, as soon as it has one: its policies were trained on that."""
        theirs = self.place / "var" / "models" / base_model.NAME
        return theirs if theirs.exists() else self.place / "base"

    def _answered(self, path: str | None, asked: Sequence[Task]) -> list[Answered]:
        """What a policy, or the base model, answers, and whether that passes."""
        source = inference.served(Path(path), "policy", "sft") if path else inference.base(str(self._base()))
        tokenizer = models.load_tokenizer(source.base_model)
        ids = [
            encode_chat(tokenizer, [{"role": "user", "content": task.prompt}], add_generation_prompt=True)
            for task in asked
        ]
        policy = inference.Policy(source, tokenizer, BATCH)
        drawn = policy.sample(ids, max_new_tokens=self.sizes.tokens, temperature=TEMPERATURE, seed=self.sizes.seed)
        with Checker() as checker:
            return [(task, passes(checker, task, each.text)) for task, each in zip(asked, drawn, strict=True)]


def passes(checker: Checker, task: Task, text: str) -> bool | None:
    """Whether an answer passes the check of its task; None where that cannot be told."""
    [finding] = checker.check(case_of(task.case(text)), [made.FAMILIES[task.family]])
    return finding.passed


def judgement(passed: Sequence[bool | None]) -> dict[str, Any]:
    """What is submitted of two responses: the one that passes wins over one that does not, and else it is a tie."""
    right = [each is True for each in passed]
    if right[0] == right[1]:
        return {"outcome": "tie"}
    return {"outcome": "ranked", "wins": right.index(True), "strength": STRENGTH}


def kept(file: Path, make: Callable[[], list[dict[str, Any]]]) -> list[Answered]:
    """Answers from the file; where it is not there they are made and written, whole or not at all."""
    if not file.exists():
        files.write_json(file, make())
    return made.from_json(json.loads(file.read_text(encoding="utf-8")))


def _read(file: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    return found


if __name__ == "__main__":
    sys.exit(main())
