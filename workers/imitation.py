"""The run between reward model and policy: sample, choose, and imitate what was chosen.

    python -m workers.imitation RUN.TOML

1. The newest policy answers each training prompt of the snapshot K times (``workers.rejection``).
2. The reward model picks the best, of these the best quarter, and people's edits come first (``training.selection``).
3. This process becomes ``training.sft`` on what was chosen.

All of it is one process, so that its worker watches, cancels and resumes it like any other training: samples that are
there are not taken again, and a choice that was made stands.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from app.rounds.config import max_length, to_toml
from app.rounds.gate import CHOSEN_FILE
from app.rounds.models import RunKind
from app.rounds.runs import Imitation
from app.settings import ROOT, get_settings
from workers import rejection
from workers.engines import EngineAway, ModelMissing
from workers.rejection import Tally

PLAN = "imitation.json"
SAMPLES = "samples.jsonl"


def write_plan(folder: Path, wanted: Imitation) -> None:
    """Say beside the run file what is to be sampled."""
    plan = {"snapshot": str(wanted.snapshot), "samples": wanted.samples, "reward_model": str(wanted.reward_model)}
    (folder / PLAN).write_text(json.dumps(plan), encoding="utf-8")


def main(argv: list[str]) -> int:
    """Prepare the data, then become the training; returns only where that cannot begin."""
    from workers.trainer import environment  # it starts this module, and knows what training may see

    run_file = Path(argv[0]).resolve()
    folder, config = run_file.parent, tomllib.loads(run_file.read_text(encoding="utf-8"))
    plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    status = 0
    if not (folder / CHOSEN_FILE).exists():
        # Answers may be as long as those that are trained on: fewer would keep only what is short, as cut ones are dropped.
        longest = max_length(RunKind.SFT, config)
        status = _sample(plan, folder / SAMPLES, longest) or _choose(plan, folder, longest, environment(config))
    if status == 0:
        _train(run_file, environment(config))
    return status


def _sample(plan: dict[str, Any], samples: Path, longest: int) -> int:
    """The exit status; what was sampled stays for the next try."""
    writer = rejection.newest_policy()
    if writer is None:
        return _end("No policy is served that could be sampled: retry when the engine is ready.")
    asked = rejection.questions(Path(plan["snapshot"]))

    def told(tally: Tally) -> None:
        sys.stdout.write(f"{tally.done + tally.there_before} of {len(asked)} prompts sampled\n")
        sys.stdout.flush()

    wanted = rejection.sample(get_settings(), asked, writer, samples, k=plan["samples"], max_tokens=longest, told=told)
    try:
        asyncio.run(wanted)
    except (EngineAway, ModelMissing) as error:
        return _end(f"{error} Retry when the engine is back: what is sampled is kept.")
    except ValueError:
        samples.unlink()  # another policy is the newest by now, and samples of two are not mixed
        return _sample(plan, samples, longest)
    return 0


def _choose(plan: dict[str, Any], folder: Path, longest: int, environment: dict[str, str]) -> int:
    """The exit status of ``training.selection``, which writes its file whole or not at all."""
    told = {name: plan[name] for name in ("reward_model", "snapshot")}
    told |= {"max_length": longest, "samples": str(folder / SAMPLES), "output": str(folder / CHOSEN_FILE)}
    selection = folder / "selection.toml"
    selection.write_text(to_toml(told), encoding="utf-8")
    command = [sys.executable, "-m", "training.selection", str(selection)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _train(run_file: Path, environment: dict[str, str]) -> NoReturn:
    os.execve(sys.executable, [sys.executable, "-m", "training.sft", str(run_file)], environment)  # noqa: S606


def _end(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
