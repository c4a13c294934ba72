"""Beat's schedule, in memory, with a sign of life: a clock that hangs looks like one that has nothing to ring for."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from celery.beat import Scheduler

from app.kernel.settings import get_settings
from app.services.instance import BEAT


class Clock(Scheduler):
    """In memory: every entry is an interval or a time of day, and a schedule file can be left corrupt by kill -9."""

    def tick(self, *arguments: Any, **options: Any) -> Any:
        """Ring for what is due, and say so; returns the seconds until the next tick."""
        wait = super().tick(*arguments, **options)
        with contextlib.suppress(OSError):  # a full disk is no reason to stop the clock
            Path(get_settings().data_dir, BEAT).touch()
        return wait
