"""Whether GRPO learns a rule that is known, by the verifiers of the product, and nothing from a reward that means nothing.

    python -m benchmarks.planted_grpo --place FOLDER       the bundled model; goes on where it was interrupted
    python -m benchmarks.planted_grpo --steps 3 --held-out 16        a handful of steps, to see that it runs

The rule is a format that nobody asks for: an answer of a few words, though not of none. The bundled model seldom keeps it by
itself. Of two runs of `python -m training.grpo` with the same prompts and seed, one is rewarded by the verifier `instructions`,
the other by dice; both are measured by the verifier, on prompts that neither learns from. A finished run is not repeated.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.budget import Budget, verdict
from benchmarks.planted import QUESTIONS, ROOT, SUBJECTS
from training import base_model

FEW, SOME = 15, 4
"""Words of which an answer must have fewer, and as many."""
HELD_OUT, STEPS = 200, 120
TOKENS = 48
SEED = 1
RULE, DICE = "instructions", "dice"
"""The verifier of the rule, and that of the reward that means nothing."""


def main() -> int:
    """Print both rates of both runs; exit with 1 where something is not as it was planted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, help="where runs lie and are gone on with; else a folder that goes away")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument(
        "--serve", action="store_true", help="answer what the rule and dice find of cases, as verifiers do"
    )
    options = parser.parse_args()
    if options.serve:
        return serve()
    began = time.monotonic()
    print(f"{options.steps} steps, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before", flush=True)
    with tempfile.TemporaryDirectory() as name:
        place = options.place or Path(name)
        base_model.convert(place / "base")
        write_snapshot(place / "snapshot", options.held_out)
        found = {reward: trained(place, reward, options.steps, options.held_out) for reward in (RULE, DICE)}
    print(f"{(time.monotonic() - began) / 60:.0f} minutes, load {os.getloadavg()[0]:.1f} after\n")
    for reward, report in found.items():
        before, after = (interval(report[side]["verified"]) for side in ("before", "after"))
        print(f"rewarded by {reward:<14} {before} before   {after} after")
    rule, dice = found[RULE], found[DICE]
    return verdict(
        Budget("the rule is kept before", rule["before"]["verified"]["value"], 0.2),
        Budget("the rule is kept after", rule["after"]["verified"]["value"], 0.8, at_least=True),
        Budget("the rule is kept after dice", dice["after"]["verified"]["value"], 0.3),
    )


def interval(rate: dict[str, Any]) -> str:
    """A rate with its interval and the prompts that it is of."""
    ends = "" if rate["low"] is None else f" [{rate['low']:.1%}, {rate['high']:.1%}]"
    return f"{rate['value']:.1%}{ends} of {rate['prompts']}"


def write_snapshot(folder: Path, held_out: int) -> None:
    """Prompts alone, each once on one side; the same each time, so that a run goes on with them."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [question.format(subject) for subject in SUBJECTS for question in QUESTIONS]
    random.Random(SEED).shuffle(asked)
    words = [{"num_words": FEW, "relation": "less than"}, {"num_words": SOME, "relation": "at least"}]
    kept = {"ids": ["length_constraints:number_words"] * len(words), "kwargs": words}
    lines = [
        {
            "prompt_hash": hashlib.sha256(prompt.encode()).hexdigest(),
            "prompt": [{"role": "user", "content": prompt}],
            "tools": None,
            "reference": None,
            "tests": {"kind": "instructions", **kept},
            "capability": "format",
            "required": [RULE],
            "split": "held_out" if number < held_out else "train",
        }
        for number, prompt in enumerate(asked)
    ]
    prompts = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (folder / "prompts.jsonl").write_bytes(prompts)
    (folder / "preferences.jsonl").write_bytes(b"")
    facts = {
        "rows": 0,
        "sha256": hashlib.sha256(b"").hexdigest(),
        "prompts_sha256": hashlib.sha256(prompts).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(facts))


def trained(place: Path, reward: str, steps: int, held_out: int) -> dict[str, Any]:
    """Train by this reward, or go on with it, and return what `training.grpo` reports."""
    folder = place / reward
    folder.mkdir(exist_ok=True)
    run = {
        "name": f"rewarded-by-{reward}",
        "recipe": "laptop",
        "snapshot": "../snapshot",
        "base_model": "../base",
        "output": "final",
        "work": "work",
        "checks": [sys.executable, "-m", "benchmarks.planted_grpo", "--serve"],
        "required": [reward],
        "steps": steps,
        "max_tokens": TOKENS,
        "held_out": held_out,
        "seed": SEED,
    }
    (folder / "run.toml").write_text(tomli_w.dumps(run))
    subprocess.run([sys.executable, "-m", "training.grpo", str(folder / "run.toml")], cwd=ROOT, check=True)
    report: dict[str, Any] = json.loads((folder / "work" / "report.json").read_text())
    return report


def serve() -> int:
    """What `python -m workers.verifiers` answers of each case, and a finding of dice beside it."""
    from workers.verifiers.checker import Checker
    from workers.verifiers.protocol import case_of

    dice = random.Random(SEED)
    with Checker() as checker:
        for line in sys.stdin:
            asked = json.loads(line)
            found = [asdict(each) for each in checker.check(case_of(asked["case"]), asked.get("verifiers"))]
            nothing = {"verifier": DICE, "version": "1", "passed": dice.random() < 0.5, "score": None, "message": ""}
            print(json.dumps({"id": asked["id"], "findings": [*found, nothing]}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
