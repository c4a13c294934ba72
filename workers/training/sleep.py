"""One GPU for the engine and for training: the engine sleeps while a stage computes, and is woken however that ends.

Only stages that cannot ask the engine have it sleep. Where the worker itself is killed nobody is left to wake it; the
reconciler does (``workers.tasks.serving``) once no run is being trained.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.kernel.settings import get_settings
from app.rounds.plan import Stage
from workers.engines import sleeping

log = structlog.get_logger()


def has_engine_sleep(stage: Stage) -> bool:
    """Whether the engine may sleep while ``stage`` computes, and does on this installation."""
    return get_settings().engine_sleeps and not stage.knows_installation


def sleep() -> None:
    """Have the engines sleep. One that does not keeps its memory, and training makes do with what is left."""
    _tell(sleeping.SLEEP, "engine_stays_awake")


@contextmanager
def waking() -> Iterator[None]:
    """A block behind which the engines are awake, whatever ends it."""
    try:
        yield
    finally:
        _tell(sleeping.WAKE, "engine_not_woken")


def _tell(path: str, failed: str) -> None:
    for address, error in asyncio.run(sleeping.tell(get_settings(), path)).items():
        log.warning(failed, engine=address, error=error)
