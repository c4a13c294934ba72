"""Tells tasks in pool children that their worker is shutting down, or is gone.

The signal arrives in the parent only, and a warm shutdown waits for running tasks: a generation that goes on for hours
would hold it up. The event lives in shared memory that children inherit, so it must exist before they are forked.
A child whose parent was killed would go on beside the worker that takes its place.
"""

from __future__ import annotations

import multiprocessing
import os

_requested = multiprocessing.get_context("fork").Event()
_worker = os.getpid()
"""The process that imported this first: the worker itself, which forks the pool."""


def request() -> None:
    """Ask every long task of this worker to put down what it holds and end."""
    _requested.set()


def clear() -> None:
    """Forget the request: tests run many workers' lives in one process."""
    _requested.clear()


def requested() -> bool:
    """Whether the worker is shutting down, or was killed and left this child behind."""
    return _requested.is_set() or _worker not in {os.getpid(), os.getppid()}
