"""Tables from strangers, read in a child process with a bound on its memory and time.

A Parquet or Arrow file says nothing reliable about how large it becomes (a page of a few bytes can unpack to gigabytes), and
its reader is native code. So it runs as ``python -m app.prompts.tables`` without our environment, and hands its rows back as
JSON lines, which pass the same checks as an upload of JSON Lines.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NoReturn

import structlog

from app.kernel import stored_words
from app.kernel.errors import BadInput
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.settings import ROOT
from app.prompts.bounded_json import Refused
from app.prompts.importers import MAX_RECORDS, Limits, Row, too_long, value_of

log = structlog.get_logger()

PARQUET, ARROW = "Parquet", "Arrow"
"""Kinds of tables."""
ARROW_FILE = b"ARROW1"
"""How a file of Arrow begins that is no stream."""
STOPPED = 2
"""The child's exit status when its last line is a sentence for people."""
CHILD_MEMORY = 384 * 1024 * 1024
"""Half of it reads 64 MB of texts in one row group; 60 texts of a megabyte each take nearly all."""
CHILD_SECONDS = 60
CHILD_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # the stacks and buffers of a thread a core count against the memory, and on a large machine they fill it
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
ROWS_AT_ONCE = 64
MAX_COLUMNS = 200
NOTHING_READ = N_(
    "The {kind} file cannot be read: it is damaged, or unpacks to far more than it declares. Save it again."
)


_TOO_MUCH = N_("The {kind} file unpacks to more than {most} bytes: split it.")


def rows(kind: str, content: bytes, limits: Limits) -> Iterator[Row]:
    """The rows of ``content``, a table of that ``kind``, which may become four times as many bytes of JSON as a file may have.

    Raises:
        BadInput: it cannot be read, or unpacks to too much.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as found:
        source.write(content)
        source.seek(0)
        _unpack(kind, source, found, 4 * limits.file_bytes)
        found.seek(0)
        for number, line in enumerate(found, 1):
            if len(line) > limits.record_bytes:
                yield number, too_long(limits)
            elif line.startswith(b"!"):
                yield number, Refused(line[1:].decode().strip())
            else:
                yield number, value_of(line)


def _unpack(kind: str, source: IO[bytes], found: IO[bytes], total_bytes: int) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "app.prompts.tables", kind, str(total_bytes)],
            stdin=source,
            stdout=found,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=CHILD_ENVIRONMENT,
            timeout=CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInput(
            _(
                "The {kind} file takes longer than {n} seconds to unpack: split it.",
                kind=kind,
                n=CHILD_SECONDS,
            )
        ) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        if done.returncode == STOPPED and said:
            raise BadInput(stored_words.said(said))
        log.warning("table_reader_failed", kind=kind, status=done.returncode, said=said)
        raise BadInput(_(NOTHING_READ, kind=kind))


# ── The child ────────────────────────────────────────────────────────────────────────────────────────────────────────
def main() -> None:
    """Read Parquet from standard input, write one line a row: JSON, or ``!`` and the reason why there is none."""
    kind, total_bytes = sys.argv[1], int(sys.argv[2])
    _bound(resource.RLIMIT_DATA, CHILD_MEMORY)
    _bound(resource.RLIMIT_FSIZE, 2 * total_bytes)
    import pyarrow as pa

    try:
        if kind == ARROW:
            _write(_of_arrow(sys.stdin.buffer), total_bytes)
        else:
            _write(_of_parquet(sys.stdin.buffer, total_bytes), total_bytes)
    except (MemoryError, OverflowError):
        _stop(_TOO_MUCH, most=f"{total_bytes:,}")
    except (pa.ArrowException, OSError, ValueError) as error:
        _stop(N_("The {kind} file cannot be read ({error}): save it again."), error=str(error).splitlines()[0][:200])


def _bound(what: int, most: int) -> None:
    _now, allowed = resource.getrlimit(what)
    bound = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(what, (bound, bound))


def _check_declared(declared: Any, total_bytes: int) -> None:
    _check_rows(declared.num_rows)
    size = sum(declared.row_group(number).total_byte_size for number in range(declared.num_row_groups))
    if size > total_bytes:
        _stop(
            N_("The {kind} file unpacks to {size} bytes, {most} is the most: split it."),
            size=f"{size:,}",
            most=f"{total_bytes:,}",
        )


def _check_rows(rows: int) -> None:
    if rows > MAX_RECORDS:
        _stop(N_("The {kind} file has {n} rows, {most} is the most: split it."), n=f"{rows:,}", most=f"{MAX_RECORDS:,}")


def _check_columns(names: list[str]) -> None:
    """A row is an object, in which the second of two columns of one name would silently replace the first."""
    if len(names) > MAX_COLUMNS:
        _stop(
            N_("The {kind} file has {n} columns, {most} is the most: keep those needed."),
            n=f"{len(names):,}",
            most=MAX_COLUMNS,
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        _stop(N_("The {kind} file has two columns named {name}: rename or remove one."), name=json.dumps(twice[:40]))


def _of_parquet(content: IO[bytes], total_bytes: int) -> Iterator[Any]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(content)
    _check_declared(table.metadata, total_bytes)
    _check_columns(table.schema_arrow.names)
    yield from table.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False)


def _of_arrow(content: IO[bytes]) -> Iterator[Any]:
    """Batches of a file, or of streams one behind the other, which declare nothing: rows are counted as they come."""
    import pyarrow as pa

    is_file, size = content.read(len(ARROW_FILE)) == ARROW_FILE, content.seek(0, os.SEEK_END)
    content.seek(0)
    source, rows = pa.PythonFile(content, mode="r"), 0
    while source.tell() < size:
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        _check_columns(reader.schema.names)
        batches = (reader.get_batch(at) for at in range(reader.num_record_batches)) if is_file else reader
        for batch in batches:
            rows += batch.num_rows
            _check_rows(rows)
            yield batch
        if is_file:
            return


def _write(batches: Iterator[Any], total_bytes: int) -> None:
    written = 0
    for batch in batches:
        columns = list(zip(batch.schema.names, batch.columns, strict=True))
        for row in range(batch.num_rows):
            line = _row_line(columns, row)
            written += len(line)
            if written > total_bytes:
                _stop(_TOO_MUCH, most=f"{total_bytes:,}")
            sys.stdout.buffer.write(line)


def _row_line(columns: list[tuple[str, Any]], row: int) -> bytes:
    try:
        values = {name: _plain(column[row].as_py()) for name, column in columns}
        return json.dumps(values, default=str).encode() + b"\n"
    except UnicodeDecodeError:
        return f"!{N_('has text that is not UTF-8: write it again as UTF-8')}\n".encode()
    except _BinaryCell:
        return f"!{N_('has a cell of binary data, a picture perhaps: only text can be imported')}\n".encode()


class _BinaryCell(Exception):
    pass


def _plain(value: Any) -> Any:
    """``value`` without NaN, which tables use for "missing", and without bytes, which have no JSON."""
    if isinstance(value, bytes):
        raise _BinaryCell
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _stop(reason: str, **values: object) -> NoReturn:
    """End with a sentence, in English: whoever called retells it."""
    sys.stderr.write(reason.format(kind=sys.argv[1], **values))
    _end(STOPPED)


def _end(status: int) -> NoReturn:
    """Leave at once: a thread of Arrow that has no memory left to end in would abort a process that has done its work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
    _end(0)
