"""What starts the processes of one training (``CORRAL_TRAINING_LAUNCH``): which programs may, and where they lie.

A launcher knows devices and hosts; Corral does not. So the setting is a command prefix, passed on as it was written, and only
its first words are read.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from app.kernel.errors import CannotStart

KNOWN = ("torchrun", "accelerate", "srun")
STARTS_PYTHON = frozenset({"torchrun", "accelerate"})
"""Those that start an interpreter themselves, and are told a module."""
EXAMPLES = "torchrun --standalone --nproc-per-node 2, accelerate launch --num_processes 2, or srun --ntasks 4"


def words(launch: str) -> list[str]:
    """The setting, word by word; none where one process trains.

    Raises:
        ValueError: no launcher starts like that; the message says what to write.
    """
    try:
        found = shlex.split(launch)
    except ValueError as error:
        raise ValueError(f"{error}: write it as in a shell, e.g. {EXAMPLES}") from None
    if not found:
        return []
    program = Path(found[0]).name
    if program not in KNOWN:
        raise ValueError(f"{found[0]} is none of the launchers {', '.join(KNOWN)}: write e.g. {EXAMPLES}")
    if program == "accelerate" and found[1:2] != ["launch"]:
        raise ValueError(
            "accelerate starts processes as accelerate launch: write e.g. accelerate launch --num_processes 2"
        )
    if found[-1] in {"-m", "--module"}:
        raise ValueError(f"leave out {found[-1]} at its end: what is started is added by the training worker")
    return found


def located(launch: str) -> list[str]:
    """The words of the setting, its program with its path: of this installation, else of ``PATH``.

    Raises:
        CannotStart: this host has no such program.
    """
    found = words(launch)
    if not found:
        return []
    own = str(Path(sys.executable).parent)
    program = shutil.which(found[0], path=os.pathsep.join([own, os.environ.get("PATH", os.defpath)]))
    if program is None:
        raise CannotStart(
            f"CORRAL_TRAINING_LAUNCH starts with {found[0]}, which is not on this host's PATH: install it here, write its "
            "path, or leave the setting empty to train in one process."
        )
    return [program, *found[1:]]


def of(launch: list[str], module: list[str]) -> list[str]:
    """The command that starts a module and its arguments by a launcher."""
    by_itself = STARTS_PYTHON & {Path(word).name for word in launch}
    return [*launch, *([] if by_itself else [sys.executable]), "-m", *module]
