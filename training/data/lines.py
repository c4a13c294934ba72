"""The rows of a file, before anything is made of them: JSON Lines or one JSON array, as they are or compressed by gzip."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from training.formats.errors import DataError

Body = dict[str, Any]
_GZIP = b"\x1f\x8b"
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:\{|\]|\Z)")  # of objects: a line may be an array by mistake


def read(file: Path, remedy: str) -> Iterator[tuple[str, Body]]:
    """Where each row stands, in words, and what it holds.

    Raises:
        DataError: naming the file, the line and `remedy`.
    """
    try:
        with _opened(file) as stream:
            start = stream.read(4096)
            while start and not start.strip() and (more := stream.read(4096)):
                start += more
        with _opened(file) as stream:
            yield from (_array if _ARRAY.match(start) else _lines)(file, stream, remedy)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{file} cannot be unpacked ({error}): compress it again") from error


def _opened(file: Path) -> gzip.GzipFile | BufferedReader:
    with file.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    return gzip.open(file, "rb") if packed else file.open("rb")


def _lines(file: Path, stream: gzip.GzipFile | BufferedReader, remedy: str) -> Iterator[tuple[str, Body]]:
    for number, line in enumerate(
        stream, start=1
    ):  # lines end with \n alone: U+2028 and its like may stand inside of one
        if line.strip():
            where = f"line {number}"
            yield where, _object(_parsed(line, f"{file}, {where}", remedy), f"{file}, {where}", "a line", remedy)


def _array(file: Path, stream: gzip.GzipFile | BufferedReader, remedy: str) -> Iterator[tuple[str, Body]]:
    for number, body in enumerate(_parsed(stream.read(), str(file), remedy), start=1):
        where = f"row {number}"
        yield where, _object(body, f"{file}, {where}", "a row", remedy)


def _parsed(text: bytes, where: str, remedy: str) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is not UTF-8: {remedy}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error.msg} at character {error.pos + 1}): {remedy}") from error
    except RecursionError as error:
        raise DataError(f"{where}: nested too deep: {remedy}") from error


def _object(body: Any, where: str, what: str, remedy: str) -> Body:
    if not isinstance(body, dict):
        raise DataError(f"{where}: {what} must be one JSON object: {remedy}")
    return body
