"""Folders for whole installations."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_place() -> Iterator[Path]:
    """A folder that goes away after the block.

    Not pytest's: each run of pytest closes the folder above its temporary folders to others, and PostgreSQL, which does
    not run as root, is such an other when root runs the tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="corral-")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
