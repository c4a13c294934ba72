"""One line on a terminal or in a notebook that says how far something is."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self, TextIO

WIDTH = 24
OFTEN = 0.1
"""Seconds between two drawings, so that drawing costs nothing."""


class Bar:
    """``Bar("export", total=200)``, then :meth:`at`; without a total it counts. Silent where ``shown`` is off."""

    def __init__(self, what: str, total: int | None = None, *, unit: str = "", shown: bool = True) -> None:
        self._what, self._total, self._unit, self._shown = what, total, unit, shown
        self._out: TextIO = sys.stderr
        self._drawn, self._count = 0.0, 0

    def at(self, count: int, total: int | None = None) -> None:
        """Say how far it is; ``total`` where it is known only now, or has changed."""
        self._count, self._total = count, self._total if total is None else total
        now = time.monotonic()
        if self._shown and now - self._drawn >= OFTEN:
            self._drawn = now
            self._draw()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the line, with the last count."""
        if self._shown:
            self._draw()
            self._out.write("\n")

    def _draw(self) -> None:
        said = f"{self._count:,}{self._unit}"
        if self._total:
            full = min(WIDTH, WIDTH * self._count // self._total)
            said = f"[{'█' * full}{'·' * (WIDTH - full)}] {self._count:,} of {self._total:,}{self._unit}"
        self._out.write(f"\r{self._what}: {said}\x1b[K")
        self._out.flush()
