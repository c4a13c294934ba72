"""The file of a backup: a tar that any ``tar`` reads, and behind it one line with the hash of all that comes before.

In it lie the rows (``database/TABLE/00001.copy.gz``, PostgreSQL's own text format), the files (``files/checkpoints/…``)
and, last, ``contents.json``, which says what there has to be. Nothing of a file is used before its hash was found right.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from app.kernel.errors import BadInput, Conflict

FORMAT = 1
CONTENTS = "contents.json"
ROWS, FILES = "database", "files"
FOLDERS = ("checkpoints", "snapshots", "sources", "runs", "models")
"""What files there can be: a backup puts nothing elsewhere."""
_TRAILER = "corral-backup sha256 {}\n"
_TRAILER_BYTES = len(_TRAILER.format("0" * 64))
_TRAILED = re.compile(rb"corral-backup sha256 ([0-9a-f]{64})\n")
_STEP = 1024 * 1024

Told = Callable[[int], None]
"""Hears how many bytes there were so far."""


@dataclass(frozen=True)
class Table:
    """The columns that were copied, in order, and how many rows there were."""

    columns: list[str]
    rows: int


@dataclass(frozen=True)
class Contents:
    """What a backup says of itself."""

    corral: str
    revision: str
    """The migration that the database was at."""
    made_at: str
    """When its rows were read: ISO 8601, by the clock of the database."""
    tables: dict[str, Table]
    sequences: dict[str, tuple[int, bool]]
    """Where each goes on: its last value, and whether that one was given out."""
    files: dict[str, tuple[int, str]]
    """Below ``files/``: bytes and SHA-256."""
    damaged: list[str] = field(default_factory=list)
    """Sentences: what was not, or not as it should be, when the backup was made."""
    format: int = FORMAT

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def file_bytes(self) -> int:
        """Of all files."""
        return sum(size for size, _ in self.files.values())

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """From ``contents.json``.

        Raises:
            BadInput: another format, or a name that leads out of the data folder.
        """
        said: dict[str, Any] = json.loads(raw)
        if said.get("format") != FORMAT:
            raise BadInput(
                f"This backup has format {said.get('format')!r}, and this Corral reads {FORMAT}: use the release that "
                "made it, or a later one."
            )
        said.pop("checkpoints", None)  # what earlier releases said of where each lies
        said["tables"] = {name: Table(**table) for name, table in said["tables"].items()}
        said["files"] = {_inside(name): tuple(about) for name, about in said["files"].items()}
        said["sequences"] = {name: tuple(about) for name, about in said["sequences"].items()}
        return cls(**said)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if len(path.parts) < 3 or path.parts[0] not in FOLDERS or {"..", "."} & set(path.parts) or "\0" in name:
        raise BadInput(f"This backup names the file {name[:200]!r}, which no installation has: do not use it.")
    return name


class Writer:
    """Writes a backup to ``out``, from beginning to end, without going back."""

    def __init__(self, out: IO[bytes], told: Told = lambda _: None) -> None:
        self._out = _Summing(out, told)
        sink: Any = self._out  # write() and tell() are all that it is asked for
        self._tar = tarfile.open(fileobj=sink, mode="w")  # noqa: SIM115 - it holds nothing that an error would have to close

    def add(self, name: str, data: bytes) -> None:
        """One member, from memory."""
        self._add(name, len(data), io.BytesIO(data))

    def add_file(self, name: str, path: Path) -> tuple[int, str]:
        """The file at ``path``; returns its bytes and SHA-256.

        Raises:
            Conflict: it changed while it was read.
            OSError: it cannot be read.
        """
        with path.open("rb") as stream:
            size = path.stat().st_size
            summed: Any = _Summed(stream)
            try:
                self._add(name, size, summed)
            except OSError as error:
                if summed.bytes < size and error.errno is None:
                    raise Conflict(f"{path} became shorter while it was read: run the backup again.") from error
                raise
        return size, summed.digest.hexdigest()

    def close(self, contents: Contents) -> int:
        """Write what was added, and the hash of everything; returns the bytes of the backup."""
        self.add(CONTENTS, json.dumps(asdict(contents), ensure_ascii=False, indent=1).encode())
        self._tar.close()
        self._out.out.write(_TRAILER.format(self._out.digest.hexdigest()).encode())
        self._out.out.flush()
        return self._out.bytes + _TRAILER_BYTES

    def _add(self, name: str, size: int, stream: IO[bytes]) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, stream)
        self._tar.getmembers().clear()  # it would keep them all


class _Summing:
    """A file to write to, and the hash of what was written."""

    def __init__(self, out: IO[bytes], told: Told) -> None:
        self.out, self.digest, self.bytes, self._told = out, hashlib.sha256(), 0, told

    def tell(self) -> int:
        return self.bytes

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.bytes += len(data)
        self._told(self.bytes)
        return self.out.write(data)


class _Summed:
    """A file to read from, and the hash of what was read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.digest, self.bytes = stream, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        self.bytes += len(data)
        return data


@dataclass(frozen=True)
class Backup:
    """A backup whose hash was found right."""

    contents: Contents
    size: int
    _tar: tarfile.TarFile

    def members(self, below: str) -> Iterator[tuple[str, IO[bytes]]]:
        """Name and bytes of each member ``below`` a folder, in the order in which they were written."""
        for member in self._tar:
            stream = self._tar.extractfile(member) if member.isreg() and member.name.startswith(f"{below}/") else None
            if stream is not None:
                yield member.name, stream


@contextmanager
def opened(file: IO[bytes], told: Told = lambda _: None) -> Iterator[Backup]:
    """The backup in ``file``, which can be sought, for the time of the block; all of it is read first.

    Raises:
        BadInput: it is no backup, or not the whole of one, or a byte of it changed.
    """
    size = _sound(file, told)
    file.seek(0)
    with _understood():
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closed below
    with tar:
        with _understood():
            contents = _contents(tar)
        yield Backup(contents, size, tar)


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"This backup cannot be understood ({error}): it was not made by Corral.") from error


def _contents(tar: tarfile.TarFile) -> Contents:
    stream = tar.extractfile(CONTENTS)
    if stream is None:
        raise KeyError(CONTENTS)
    return Contents.read(stream.read())


def _sound(file: IO[bytes], told: Told) -> int:
    """The size of a file whose last line is the hash of the rest."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _TRAILER_BYTES))
    trailed = _TRAILED.fullmatch(file.read())
    if trailed is None:
        raise BadInput(
            "This is no backup, or only the beginning of one: its last line is missing. Take another; nothing was changed."
        )
    digest, left = hashlib.sha256(), size - _TRAILER_BYTES
    file.seek(0)
    while left:
        data = file.read(min(_STEP, left))
        if not data:
            break
        digest.update(data)
        left -= len(data)
        told(size - left)
    if digest.hexdigest().encode() != trailed[1]:
        raise BadInput(
            "This backup is damaged: its bytes are not those that were written. Take another; nothing was changed."
        )
    return size
