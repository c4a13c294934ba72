"""An export of any size holds as much memory as a small one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from app.kernel.db import session_scope
from app.preferences import export, queries
from app.preferences.exporters import Format, Shape, parquet
from app.preferences.forms import ExportFilter
from benchmarks.export import seed

FETCH = 250
"""Rows of a fetch, half of what they are: what is measured is how the peak goes with the number of fetches."""
# Full fetches only: while one is taken up, the one before it is still held, so a half fetch makes a smaller peak.
SMALL, LARGE = 2 * FETCH, 6 * FETCH

TEXT_BYTES = 4 * 600
"""An annotation has at least this much text. An export that kept its rows held four times this more at the larger size."""


@pytest.fixture
def many(committed: Engine) -> None:
    seed(LARGE, candidates=4)


def peak(annotations: int, form: Format, folder: Path) -> int:
    """The peak of Python's memory, the lesser of two.

    The whole process is traced, and what another thread of it holds meanwhile can only add. Where there is none the peaks of
    the same export differ by less than a kilobyte, and those of these two sizes by 0.2 MB.
    """
    return min(once(annotations, form, folder)[0] for _ in range(2))


def once(annotations: int, form: Format, folder: Path) -> tuple[int, int]:
    """The peak of Python's memory in one export, and what Arrow holds after it."""
    arrow = pa.system_memory_pool()
    pa.set_memory_pool(arrow)
    held = arrow.bytes_allocated()
    tracemalloc.start()
    with session_scope() as session, (folder / "out").open("wb") as out:
        out.writelines(export.stream(session, Shape.CANONICAL, form, ExportFilter(until=annotations)))
    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return python, arrow.bytes_allocated() - held


@pytest.mark.slow
@pytest.mark.parametrize("form", Format)
def test_memory_does_not_grow_with_the_export(
    many: None, form: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1024 * 1024)
    monkeypatch.setattr(queries, "STREAM_ROWS", FETCH)
    _, left = once(LARGE, form, tmp_path)  # what is loaded once is loaded now
    assert left == 0, "Arrow keeps nothing behind"
    growth = peak(LARGE, form, tmp_path) - peak(SMALL, form, tmp_path)
    assert growth < (LARGE - SMALL) * TEXT_BYTES
