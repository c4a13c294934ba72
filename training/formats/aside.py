"""Files that can be rebuilt may be broken: they are set aside, kept for inspection, and rebuilt."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

BROKEN = ".broken-"
"""Between a thing's name and the time at which it was set aside."""


def is_broken(thing: Path, right: Callable[[Path], bool]) -> bool:
    """Whether ``thing`` is there, as whatever it may be, and is not ``right``."""
    return (thing.exists() or thing.is_symlink()) and not right(thing)


def set_aside(thing: Path) -> Path:
    """Give ``thing`` another name in its folder, and return it. Of several of one thing only the newest is kept.

    Raises:
        OSError: it cannot be renamed.
    """
    older = [path for path in thing.parent.iterdir() if path.name.startswith(f"{thing.name}{BROKEN}")]
    aside = thing.with_name(f"{thing.name}{BROKEN}{time.strftime('%Y%m%d-%H%M%S')}")
    while aside.exists() or aside.is_symlink():  # twice within a second
        aside = aside.with_name(f"{aside.name}-again")
    thing.rename(aside)
    for path in older:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return aside
