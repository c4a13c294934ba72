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

    Not pytest's, whose long names would put the database's socket elsewhere.
    """
    folder = Path(tempfile.mkdtemp(prefix="corral-")).resolve()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
