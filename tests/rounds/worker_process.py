"""A training worker as a process of its own, for tests that kill it: ``python -m tests.rounds.worker_process RUN_ID``."""

from __future__ import annotations

import sys

import app.models  # noqa: F401 - all tables
from app.rounds.models import RunKind
from workers import trainer
from workers.rounds import run_training

if __name__ == "__main__":
    trainer.MODULES = dict.fromkeys(RunKind, "tests.rounds.fake_training")
    run_training(int(sys.argv[1]))
