"""Export in each form, in a process of its own, and say how much memory it took: `python -m tests.preferences.peaks ROWS ROWS`.

The whole process is traced, so whatever else a process of tests does (a server in a thread, objects left over by the test
before) would count. Here there is nothing else: peaks of the same export differ by a few kilobytes.
"""

import json
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pyarrow as pa

from app.kernel.db import session_scope
from app.preferences import export, queries
from app.preferences.exporters import Format, Shape, parquet
from app.preferences.forms import ExportFilter


def peak(rows: int, form: Format, folder: Path) -> int:
    """The peak of Python's memory in one export, in bytes.

    Raises:
        RuntimeError: Arrow, whose memory Python's is not, kept some of it.
    """
    arrow = pa.system_memory_pool()
    pa.set_memory_pool(arrow)
    held = arrow.bytes_allocated()
    tracemalloc.start()
    with session_scope() as session, (folder / "out").open("wb") as out:
        out.writelines(export.stream(session, Shape.CANONICAL, form, ExportFilter(until=rows)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if arrow.bytes_allocated() != held:
        raise RuntimeError(f"Arrow keeps {arrow.bytes_allocated() - held} bytes of {form}")
    return most


def main(*sizes: int) -> dict[str, list[int]]:
    """The peak of each form at each size, in bytes; a fetch is half of the first size."""
    parquet.ROW_GROUP_BYTES = 1024 * 1024
    # Full fetches only: while one is taken up, the one before it is still held, so a half fetch makes a smaller peak.
    queries.STREAM_ROWS = sizes[0] // 2
    with tempfile.TemporaryDirectory() as folder:
        for form in Format:
            peak(sizes[-1], form, Path(folder))  # what is loaded once is loaded now
        return {form: [peak(rows, form, Path(folder)) for rows in sizes] for form in Format}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*map(int, sys.argv[1:]))))
