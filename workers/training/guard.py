"""Runs a program that ends with its parent.

``python -m workers.training.guard PARENT_PID PROGRAM ARGUMENTS``

A worker that is killed with signal 9 cleans nothing up, and a training that nobody watches would go on beside the one that
another worker resumes. So the kernel is asked to kill this process when the one that started it dies. It is a program of its
own because code between fork and exec may deadlock in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
NICENESS = 10
"""People who annotate, and the engine that writes their next answers, come before training."""


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it dies (Linux); the wish survives exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(parent: int, command: list[str]) -> None:
    """Become ``command``, tied to the life of ``parent``; does not return."""
    die_with_parent()
    if os.getppid() != parent:  # it died before the wish was made
        sys.exit(128 + signal.SIGKILL)
    os.nice(max(0, NICENESS - os.nice(0)))  # what a launcher starts has been made nice with it
    os.execvp(command[0], command)  # noqa: S606 - the arguments are a list, no shell reads them


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
