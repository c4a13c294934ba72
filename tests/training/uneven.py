"""A training run whose second process has hardly any memory: ``python -m tests.training.uneven KIND RUN.toml``."""

from __future__ import annotations

import sys

from tests.training.dies import KINDS
from training.model import processes
from training.run import room, runner

if __name__ == "__main__":
    if not processes.is_main():
        room.available = lambda: 10**6
    kind, run_file = sys.argv[1:]
    sys.exit(runner.main(kind, KINDS[kind].build_trainer, [run_file]))  # type: ignore[arg-type]
