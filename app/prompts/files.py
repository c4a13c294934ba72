"""From an uploaded file to its records: what it really is, its encoding, and one value a line, item or row.

A file is taken for what its name says and refused when its first bytes say otherwise. What is wrong with the file as a
whole is a :class:`~app.errors.BadInput`; what is wrong with one record is a :class:`~app.prompts.bounded_json.Refused`
in the record's place, so that the rest can still be read.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from app.errors import BadInput
from app.prompts import bounded_json
from app.prompts.bounded_json import Refused
from app.prompts.parquet import MAX_RECORDS, read_parquet
from app.prompts.shapes import CONVERSATION_KEYS, TASK_KEYS
from app.storable import flaw

LIST_KEYS = ("prompts", "data", "rows", "examples", "items", "questions")

Row = tuple[int, Any]
"""The record's number, and its value or the :class:`Refused` that says why it has none."""


class Format(StrEnum):
    """What can be imported."""

    JSONL = "JSON Lines"
    JSON = "JSON"
    CSV = "CSV"
    PARQUET = "Parquet"

    @property
    def unit(self) -> str:
        """What its records are counted in, from 1."""
        return {Format.JSON: "item", Format.PARQUET: "row"}.get(self, "line")

    @property
    def is_table(self) -> bool:
        """Whether its records have cells, in which a list or object may stand as JSON text."""
        return self in (Format.CSV, Format.PARQUET)


SUFFIXES = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".parquet": Format.PARQUET,
}
# First bytes that say what a file is, whatever its name; the remedy completes "This looks like …".
SIGNATURES = (
    (b"\x1f\x8b", "a gzip archive", "unpack it and upload the file inside"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"PK\x05\x06", "an empty ZIP archive", "upload the file itself"),
    (b"BZh", "a bzip2 archive", "unpack it and upload the file inside"),
    (b"\xfd7zXZ\0", "an xz archive", "unpack it and upload the file inside"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it and upload the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it and upload the file inside"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document", "save it as CSV"),
    (b"ARROW1", "an Arrow file", "save it as Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF", "copy its text into a JSON Lines file"),
    (b"\x89PNG", "a picture", "upload a file of prompts"),
    (b"\xff\xd8\xff", "a picture", "upload a file of prompts"),
    (b"GIF8", "a picture", "upload a file of prompts"),
    (b"\x7fELF", "a program", "upload a file of prompts"),
)


@dataclass(frozen=True)
class Limits:
    """Bounds on one upload."""

    prompt_chars: int
    file_bytes: int

    @property
    def record_bytes(self) -> int:
        """The longest record: the longest prompt with each character as two JSON escapes of six bytes, and some more."""
        return 12 * self.prompt_chars + 256 * 1024


def open_file(filename: str, content: bytes, limits: Limits) -> tuple[Format, Iterator[Row]]:
    """The format of ``content`` and its records; :class:`BadInput` when it is not what its name says."""
    suffix = PurePath(filename).suffix.lower()
    named = SUFFIXES.get(suffix)
    if named is None:
        raise BadInput("The name must end in .jsonl, .json, .csv or .parquet, so that it is clear what the file is.")
    if not content.strip():
        raise BadInput("The file is empty: there are no prompts in it.")
    _check_signature(content, named)
    if named is Format.PARQUET:
        return named, read_parquet(content, limits.record_bytes, 4 * limits.file_bytes)
    text = to_utf8(content)
    _check_text_format(text, named, suffix)
    if named is Format.CSV:
        return named, _csv(text, limits)
    return named, (_jsonl if named is Format.JSONL else _json)(text, limits)


def _check_signature(content: bytes, named: Format) -> None:
    is_parquet = content.startswith(b"PAR1")
    if is_parquet and named is not Format.PARQUET:
        raise BadInput(f"This looks like Parquet, but its name says {named}: rename it to end in .parquet.")
    for signature, kind, remedy in SIGNATURES:
        if content.startswith(signature):
            raise BadInput(f"This looks like {kind}, but its name says {named}: {remedy}.")
    if named is Format.PARQUET and not (is_parquet and content.endswith(b"PAR1")):
        what = "a Parquet file that was cut off" if is_parquet else "text" if b"\0" not in content[:4096] else "data"
        raise BadInput(f"This looks like {what}, but its name says Parquet: save it again as Parquet.")


def to_utf8(content: bytes) -> bytes:
    """The text as UTF-8 without a byte order mark.

    Lone surrogates pass, so that only the lines that hold them are refused. Anything that is neither UTF-8 nor UTF-16
    with its mark is refused: guessing an encoding would store wrong letters without a word.
    """
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise BadInput("This looks like UTF-32: save the file as UTF-8.")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16", "surrogatepass").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise BadInput(f"The UTF-16 text is broken at byte {error.start:,}: save the file as UTF-8.") from None
    text = content.removeprefix(codecs.BOM_UTF8)
    bom = len(content) - len(text)
    head = text[:1024]
    if head.count(0) > len(head) // 4:
        raise BadInput("This looks like UTF-16 without its byte order mark, or binary data: save the file as UTF-8.")
    # In pieces, since one astral character would make the whole decoded text four times as large.
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for start in range(0, len(text), 1 << 20):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(text[start : start + (1 << 20)], final=start + (1 << 20) >= len(text))
        except UnicodeDecodeError as error:
            offset = start - held + error.start
            line = text.count(b"\n", 0, offset) + 1
            raise BadInput(
                f"The text is not UTF-8: byte 0x{text[offset]:02x} at offset {offset + bom:,} (line {line:,}). "
                "Save the file as UTF-8 (in a spreadsheet: “CSV UTF-8”)."
            ) from None
    return text


def _check_text_format(text: bytes, named: Format, suffix: str) -> None:
    head = text[:65536].lstrip()
    if re.match(rb"<(!doctype|html|\?xml)", head, re.IGNORECASE):
        raise BadInput(f"This looks like a web page or XML, but its name says {named}: download the data itself.")
    if named is Format.JSON and head[:1] not in (b"[", b"{"):
        raise BadInput("This does not look like JSON: it must begin with [ or {.")
    if named is Format.JSON and re.match(rb"\{[^\r\n]*\}\s*\n\s*\{", head):
        raise BadInput("This looks like JSON Lines (one object a line), but its name says JSON: rename it to .jsonl.")
    if named is Format.JSONL and (head.startswith(b"[") or re.match(rb"\{\s*\n", head)):
        raise BadInput("This looks like one JSON document, but its name says JSON Lines: rename it to .json.")
    if named is Format.JSONL and head[:1] not in (b"{", b'"') and b"{" not in head:
        raise BadInput("This looks like plain text, but its name says JSON Lines: write one JSON object a line.")
    if named is Format.CSV and re.match(rb'\{\s*"|\[\s*[{\["]', head):
        raise BadInput(f"This looks like JSON, but its name says {suffix[1:].upper()}: rename it to .json or .jsonl.")


def _jsonl(text: bytes, limits: Limits) -> Iterator[Row]:
    start, number = 0, 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        number += 1
        _check_count(number, "lines")
        if end - start > limits.record_bytes:
            yield number, Refused(f"is longer than {limits.record_bytes:,} bytes: shorten it")
        else:
            line = text[start:end].strip(b" \t\r")
            if line:
                yield number, _object(line)
        start = end + 1


def _json(text: bytes, limits: Limits) -> Iterator[Row]:
    start = len(text) - len(text.lstrip())
    alone = text[start : start + 1] == b"["
    try:
        if not alone:
            found = bounded_json.members(text, start)
            if any(key in found for key in (*CONVERSATION_KEYS, *TASK_KEYS)):
                yield 1, _alone(text) if len(text) <= limits.record_bytes else Refused("is too long: shorten it")
                return
            start = _find_list(text, found)
        items = bounded_json.elements(text, start, limits.record_bytes, alone=alone)
        for number, raw in enumerate(items, 1):
            _check_count(number, "items")
            yield number, _load(raw)
    except Refused as error:
        raise BadInput(f"The file {error}.") from None


def _alone(text: bytes) -> Any:
    """The one record of a file; a table written column by column is a file of one object as well."""
    value = _load(text)
    if isinstance(value, dict):
        columns = [each for each in value.values() if isinstance(each, list)]
        if len(columns) > 1 and len({len(each) for each in columns}) == 1 and len(columns) == len(value):
            return Refused('holds whole columns, not one prompt: save the table as records (pandas: orient="records")')
    return value


def _find_list(text: bytes, found: dict[str, int]) -> int:
    lists = {key: at for key, at in found.items() if text[at : at + 1] == b"["}
    for key in LIST_KEYS:
        if key in lists:
            return lists[key]
    if len(lists) == 1:
        return next(iter(lists.values()))
    keys = ", ".join(f'"{key[:40]}"' for key in list(found)[:6]) or "none"
    raise BadInput(f'The JSON object holds no one list of prompts (its keys: {keys}): name the list "prompts".')


def _load(raw: bytes) -> Any:
    try:
        return bounded_json.loads(raw)
    except Refused as refusal:
        return refusal


def _object(raw: bytes) -> Any:
    """A line's value. A bare text is one only in a list that says so: alone on a line it is most often a broken line."""
    value = _load(raw)
    return Refused('is text, not an object: write {"prompt": "…"}') if isinstance(value, str) else value


def _check_count(number: int, unit: str) -> None:
    if number > MAX_RECORDS:
        raise BadInput(f"The file has more than {MAX_RECORDS:,} {unit}: split it.")


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
                f"A row of the CSV has more than {self._limit:,} characters. Perhaps a quote is never closed: "
                'inside a quoted cell, write each quote twice ("").'
            )
        if not line:
            raise StopIteration
        return line


def _csv(text: bytes, limits: Limits) -> Iterator[Row]:
    text, skipped, delimiter = _told_delimiter(text)
    csv.field_size_limit(limits.record_bytes)  # the default of 131,072 is below our longest prompt; it is process-wide
    lines = _Lines(text, limits.record_bytes)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begins, rows = skipped + 1, 0
    try:
        for cells in reader:
            number, begins, lines.pulled = begins, skipped + reader.line_num + 1, 0
            # A blank line, or the ",," that a spreadsheet leaves. In a file of one column, "" is a row that says nothing.
            if not any(cells) and (header is None or len(cells) != 1):
                continue
            if header is None:
                header = _header(cells)
                continue
            rows += 1
            _check_count(rows, "rows")
            yield number, _cells(header, cells)
    except csv.Error as error:
        raise BadInput(
            f"The CSV cannot be read at line {skipped + reader.line_num:,} ({error}): put cells with commas, quotes or line "
            'breaks in quotes, and write quotes inside them twice ("").'
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
        raise BadInput(f"The first line of the CSV, which names its columns, contains {wrong}: correct it there.")
    known = (*CONVERSATION_KEYS, *TASK_KEYS)
    if not any(name in known for name in names):
        shown = ", ".join(f'"{name[:40]}"' for name in names[:8])
        raise BadInput(f'The CSV needs a first line that names its columns, one of them "prompt". It names {shown}.')
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInput(f'The CSV has two columns named "{twice[:40]}": rename or remove one.')
    return names


def _cells(header: list[str], cells: list[str]) -> Any:
    if len(cells) != len(header):
        return Refused(
            f"has {len(cells)} cells where the header has {len(header)}: put cells with commas or line breaks in quotes"
        )
    record = dict(zip(header, cells, strict=True))
    try:
        bounded_json.check_text(record)
    except Refused as refusal:
        return refusal
    return record
