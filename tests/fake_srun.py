"""Stands in for Slurm's ``srun`` on one host: ``srun --ntasks N PROGRAM ARGUMENTS``.

It starts N processes in sessions of their own, each with what Slurm says of its task, and does nothing for those whose
neighbour fails. It passes SIGTERM on, and ends with the highest status.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def install(folder: Path) -> Path:
    """An ``srun`` in this folder."""
    program = folder / "srun"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    program.chmod(0o755)
    return program


def main(count: str, command: list[str]) -> int:
    said = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": count, "SLURM_NNODES": "1"}
    tasks = [
        subprocess.Popen(
            command,
            env=os.environ | said | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)},
            start_new_session=True,
        )
        for number in range(int(count))
    ]

    def pass_on(number: int, _frame: object) -> None:
        for task in tasks:
            task.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    while any(task.poll() is None for task in tasks):
        time.sleep(0.05)
    return max(task.returncode if task.returncode >= 0 else 128 - task.returncode for task in tasks)


if __name__ == "__main__":
    option, *words = sys.argv[1:]
    if option != "--ntasks":
        sys.exit(f"srun: unrecognized option '{option}'")
    sys.exit(main(words[0], words[1:]))
