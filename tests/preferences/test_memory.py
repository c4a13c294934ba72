"""An export of any size holds as much memory as a small one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from app.db import session_scope
from app.preferences import export
from app.preferences.forms import ExportFilter, Format, Shape
from app.preferences.queries import STREAM_ROWS
from benchmarks.export import seed

# Full fetches only: while one is taken up, the one before it is still held, so a half fetch makes a smaller peak.
SMALL, LARGE = 2 * STREAM_ROWS, 6 * STREAM_ROWS

TEXT_BYTES = 4 * 600
"""An annotation has at least this much text; an export that kept what it has written would hold several times as much."""


@pytest.fixture
def many(committed: Engine) -> None:
    seed(LARGE, candidates=4)


def peaks(annotations: int, form: Format, folder: Path) -> tuple[int, int, int]:
    """Written bytes, and the peaks of Python's and of Arrow's memory."""
    arrow = pa.system_memory_pool()
    pa.set_memory_pool(arrow)
    held = arrow.bytes_allocated()
    tracemalloc.start()
    with session_scope() as session, (folder / "out").open("wb") as out:
        export.write_export(session, out, Shape.CANONICAL, form, ExportFilter(until=annotations))
        size = out.tell()
    _, python = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size, python, arrow.bytes_allocated() - held


@pytest.mark.slow
@pytest.mark.parametrize("form", Format)
def test_memory_does_not_grow_with_the_export(
    many: None, form: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "ROW_GROUP_BYTES", 1024 * 1024)
    peaks(SMALL, form, tmp_path)  # what is loaded once is loaded now
    _, small, _ = peaks(SMALL, form, tmp_path)
    _, large, left = peaks(LARGE, form, tmp_path)
    assert large - small < (LARGE - SMALL) * TEXT_BYTES / 2
    assert left == 0, "Arrow keeps nothing behind"
