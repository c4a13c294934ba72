"""CSV: a first line that names the columns, then one record a row; comma, semicolon and tab part the cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from app.kernel.errors import BadInput
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.kernel.storable import flaw
from app.prompts import bounded_json
from app.prompts.bounded_json import Refused
from app.prompts.importers import Importer, Limits, Row, check_count, head_of
from app.prompts.shapes import known_keys


def _why_not(text: bytes, suffix: str) -> str | None:
    if re.match(rb'\{\s*"|\[\s*[{\["]', head_of(text)):
        return _(
            "This looks like JSON, but its name says {name}: rename it to .json or .jsonl.", name=suffix[1:].upper()
        )
    return None


class _Lines:
    """Physical lines of a CSV for :mod:`csv`, with a bound on how many bytes one record may pull."""

    def __init__(self, text: bytes, limit: int) -> None:
        # BytesIO shares the bytes, and newline="" keeps what stands inside quotes as it is
        self._stream = io.TextIOWrapper(io.BytesIO(text), "utf-8", "surrogatepass", newline="")
        self._limit = limit
        self.pulled = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._limit + 1)
        self.pulled += len(line)
        if self.pulled > self._limit:
            raise BadInput(
                _(
                    "A row of the CSV has more than {limit} characters. Perhaps a quote is never closed: inside "
                    'a quoted cell, write each quote twice ("").',
                    limit=number(self._limit),
                )
            )
        if not line:
            raise StopIteration
        return line


def _rows(text: bytes, limits: Limits) -> Iterator[Row]:
    text, skipped, delimiter = _told_delimiter(text)
    csv.field_size_limit(limits.record_bytes)  # the default of 131,072 is below our longest prompt; it is process-wide
    lines = _Lines(text, limits.record_bytes)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begins, rows = skipped + 1, 0
    try:
        for cells in reader:
            at, begins, lines.pulled = begins, skipped + reader.line_num + 1, 0
            # A blank line, or the ",," that a spreadsheet leaves. In a file of one column, "" is a row that says nothing.
            if not any(cells) and (header is None or len(cells) != 1):
                continue
            if header is None:
                header = _header(cells)
                continue
            rows += 1
            check_count(rows, "row")
            yield at, _cells(header, cells)
    except csv.Error as error:
        raise BadInput(
            _(
                "The CSV cannot be read at line {line} ({error}): put cells with commas, quotes or line "
                'breaks in quotes, and write quotes inside them twice ("").',
                line=number(skipped + reader.line_num),
                error=error,
            )
        ) from None


def _told_delimiter(text: bytes) -> tuple[bytes, int, str]:
    """The table, the lines before it, and what parts its cells: spreadsheets may say so in a first line, ``sep=;``."""
    told = re.match(rb'"?sep=([,;\t|])"?[ \t]*\r?\n', text, re.IGNORECASE)
    return (text[told.end() :], 1, told[1].decode()) if told else (text, 0, _delimiter(text))


def _delimiter(text: bytes) -> str:
    """The one of comma, semicolon and tab that occurs most in the header; spreadsheets differ by country."""
    head = text[: text.find(b"\n") if b"\n" in text[:65536] else 65536]
    return max(",;\t", key=lambda mark: head.count(mark.encode()))


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    wrong = flaw("".join(names))
    if wrong:
        raise BadInput(
            _("The first line of the CSV, which names its columns, contains {wrong}: correct it there.", wrong=wrong)
        )
    known = known_keys()
    if not any(name in known for name in names):
        shown = ", ".join(f'"{name[:40]}"' for name in names[:8])
        raise BadInput(
            _('The CSV needs a first line that names its columns, one of them "prompt". It names {shown}.', shown=shown)
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(_('The CSV has two columns named "{twice}": rename or remove one.', twice=twice[:40]))
    return names


def _cells(header: list[str], cells: list[str]) -> Any:
    if len(cells) != len(header):
        return Refused(
            N_("has {n} cells where the header has {wanted}: put cells with commas or line breaks in quotes"),
            n=len(cells),
            wanted=len(header),
        )
    record = dict(zip(header, cells, strict=True))
    try:
        bounded_json.check_text(record)
    except Refused as refusal:
        return refusal
    return record


IMPORTER = Importer(
    name="CSV", suffixes=(".csv", ".tsv"), unit="line", why_not=_why_not, rows=_rows, is_table=True, place=3
)
