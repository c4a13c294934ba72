"""The one way to handle broken files that can be rebuilt: set them aside, and say so."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from app.kernel.errors import CannotStart
from training.formats import aside


def set_aside(thing: Path, then: str = "it is created again") -> Path:
    """Rename ``thing``, say so on standard error together with what comes ``then``, and return its new path.

    Raises:
        CannotStart: it cannot be renamed.
    """
    try:
        there = aside.set_aside(thing)
    except OSError as error:
        raise CannotStart(
            f"{thing} is damaged and cannot be set aside ({error.strerror}): remove it, then start again."
        ) from error
    with contextlib.suppress(OSError, ValueError):  # nobody listens
        print(f"corral: {thing} is damaged: {then}, and the old one is now {there.name}", file=sys.stderr, flush=True)  # noqa: T201 - a word to whoever started it
    return there


def unless(right: Callable[[Path], bool], *things: Path) -> list[Path]:
    """Set aside which of ``things`` is there and is not ``right``, e.g. ``Path.is_file``; returns their new paths."""
    return [set_aside(thing) for thing in things if aside.is_broken(thing, right)]
