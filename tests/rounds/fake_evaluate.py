"""Stands in for ``training.evaluate``: writes a report as that does, in a moment and without a model.

``FAKE_EVALUATION`` says what it finds and how it behaves, words by spaces: ``reward-worse``, ``policy-worse``, ``longer``,
``repeats``, ``unsure`` (of few prompts), ``far`` (from what it was trained from), ``average-better``, ``average-worse``;
``hang-reward``, ``hang-policy`` (after its second step), ``crash``. What it is told is checked: a checkpoint that is not there
ends it with status 2.
"""

from __future__ import annotations

import json
import os
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.rounds.fake_training import emit, last_words


def measure(value: float, width: float = 0.05, prompts: int = 40) -> dict[str, Any]:
    return {"value": value, "low": value - width, "high": value + width, "prompts": prompts}


def reward_report(faults: set[str], *, before: bool, prompts: int) -> dict[str, Any]:
    compared = {"held_out/accuracy_above_bag_of_words": measure(0.1, prompts=prompts)}
    if before:
        compared["held_out/accuracy_above_before"] = measure(
            -0.2 if "reward-worse" in faults else 0.02, prompts=prompts
        )
    return {
        "data": {"held_out_judgements": 120, "prompts": prompts},
        "after_metrics": {
            "held_out/accuracy": measure(0.7, prompts=prompts),
            "held_out/length_correlation": measure(0.1, prompts=prompts),
        },
        "compared": compared,
    }


def policy_report(faults: set[str], *, prompts: int, average: bool = False) -> dict[str, Any]:
    rate = 0.3 if ("average-worse" if average else "policy-worse") in faults else 0.6
    rate += 0.1 * (average and "average-better" in faults)
    repeats = 0.2 if "repeats" in faults else 0.0
    return {
        "data": {"prompts": prompts},
        "after_metrics": {"kl_per_token": measure(1.5 if "far" in faults else 0.2, prompts=prompts)},
        "compared": {
            "win_rate": measure(rate, prompts=prompts),
            "length_controlled_win_rate": measure(0.45 if "longer" in faults else 0.6, prompts=prompts),
            "length_ratio": measure(1.5 if "longer" in faults else 1.0, prompts=prompts),
            "more_repeated_4_grams": measure(repeats, prompts=prompts),
            "more_empty": measure(0.0, prompts=prompts),
            "more_cut_off": measure(0.0, prompts=prompts),
        },
    }


def main(settings: Path) -> None:
    faults = set(os.environ.get("FAKE_EVALUATION", "").split())
    told = tomllib.loads(settings.read_text())
    folder, kind = Path(told["events"]).parent, told["kind"]
    output = Path(told["output"])
    output.mkdir(exist_ok=True)
    if settings.stem == "measure-average" and not Path(told["checkpoint"]).exists():
        (output / "report.json").write_text(json.dumps({"unmeasured": "it was not made"}))
        return
    for name in ("checkpoint", "reward_model", *(["before"] if kind == "policy" else [])):
        if name in told and not (Path(told[name]) / "manifest.json").exists():
            last_words(f"{told[name]}/manifest.json does not exist", 2)
    if "crash" in faults:
        raise RuntimeError("the scale is broken")
    for step in range(1, 5):
        emit(folder, "step", step=step, total_steps=4, metrics={})
        while f"hang-{kind}" in faults and step == 2:
            time.sleep(0.05)
    prompts = 9 if "unsure" in faults else 40
    if kind == "reward":
        report = reward_report(faults, before="before" in told, prompts=prompts)
    else:
        report = policy_report(faults, prompts=prompts, average=settings.stem == "measure-average")
    draft = output / ".report.json.tmp"
    draft.write_text(json.dumps({"format": 1, "kind": kind, **report}))
    draft.replace(output / "report.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
