r"""CSV that no spreadsheet takes for formulas, and that gives every text back.

Texts are written as :mod:`app.kernel.spreadsheets` says. What is no text is JSON, in which a semicolon is written ``\u003b``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import orjson

from app.kernel.locales import N_
from app.kernel.spreadsheets import cell_text
from app.preferences.exporters.jsonl import CHUNK_BYTES
from app.preferences.exporters.kinds import Content, FileFormat, joined
from training.formats.columns import Column, Scalar

PLAIN = (Scalar.INT8, Scalar.INT16, Scalar.INT32, Scalar.INT64, Scalar.FLOAT)


def _cell(value: Any, column: Column) -> Any:
    if value is None or column.type in PLAIN:
        return value
    if column.type in (Scalar.TEXT, Scalar.TIME):
        return cell_text(value)
    said = value if column.type is Scalar.JSON else orjson.dumps(value).decode()
    return said.replace(";", "\\u003b")


def _write(content: Content) -> Iterator[bytes]:
    return joined(_pieces(content), CHUNK_BYTES)


def _pieces(content: Content) -> Iterator[bytes]:
    held = io.StringIO(newline="")
    # texts in quotes, or a semicolon in one would end its cell in half of Europe
    table = csv.writer(held, quoting=csv.QUOTE_NONNUMERIC)
    table.writerow(each.name for each in content.columns)
    for lines in content.lines(True):
        for line in lines.splitlines():
            row = orjson.loads(line)
            table.writerow(_cell(row.get(each.name), each) for each in content.columns)
        yield held.getvalue().encode()
        held.seek(0)
        held.truncate()
    yield held.getvalue().encode()


FORMAT = FileFormat(
    label=N_("CSV"),
    purpose=N_("CSV is for spreadsheets: an apostrophe keeps them from executing what looks like a formula."),
    media_type="text/csv",
    schema={"type": "string"},
    write=_write,
)
