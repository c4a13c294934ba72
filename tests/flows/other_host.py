"""A training worker on a host of its own, for tests.

``python -m tests.flows.other_host work RUN_ID [STEP]`` trains one run; with a step, its training comes to that and then does
nothing, until the host is killed. ``python -m tests.flows.other_host stay STEP KIND RUN.toml`` is such a training.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from app.rounds import plan


def work(run_id: str, step: str = "") -> None:
    """What the training worker of this host does with one message."""
    import app.site.tables  # noqa: F401 - all tables
    from workers.tasks.rounds import run_training

    if step:
        plan.PLAN = tuple(
            replace(each, command=("tests.flows.other_host", "stay", step, each.run.value, "{run.toml}"))
            if plan.CHECKPOINT in each.makes
            else each
            for each in plan.PLAN
        )
    run_training(int(run_id))


def stay(step: str, kind: str, run_file: str) -> int:
    """Train, and stay for ever before the step behind ``step``."""
    from tests.training.dies import KINDS
    from training.run import runner
    from training.run.progress import Progress

    begin = Progress.on_step_begin

    def stays(progress: Progress, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step >= int(step):
            time.sleep(3600)
        begin(progress, args, state, control, **more)

    Progress.on_step_begin = stays  # type: ignore[method-assign, assignment]
    return runner.main(kind, KINDS[kind].build_trainer, [run_file])  # type: ignore[arg-type]


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    sys.exit({"work": work, "stay": stay}[verb](*words))  # type: ignore[operator]
