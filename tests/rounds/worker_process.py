"""A training worker as a process of its own, for tests that kill it.

``python -m tests.rounds.worker_process RUN_ID [in-stages]``
"""

from __future__ import annotations

import sys

import app.site.tables  # noqa: F401 - all tables
from app.rounds import plan
from tests.rounds import test_stages
from tests.rounds.conftest import faked
from workers.tasks.rounds import run_training

if __name__ == "__main__":
    plan.PLAN = test_stages.PLAN if sys.argv[2:] == ["in-stages"] else faked(plan.PLAN)
    run_training(int(sys.argv[1]))
