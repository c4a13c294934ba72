"""The files that rows name: into a backup, and out of one to a data folder.

They are sealed before the row that names them is committed and do not change afterwards, so a backup reads the rows first:
what its rows name is there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING

from app.kernel import store
from app.kernel.errors import CannotStart, Conflict
from app.preferences import files as frozen
from app.registry import files as checkpoint_files
from app.registry import manifest
from app.sources import storing
from app.upkeep.backups.archive import FILES, Contents, Writer

if TYPE_CHECKING:
    from app.upkeep.backups.rows import Connected

_CHECKPOINTS = """
    SELECT id, name, manifest_sha256, state = 'ready' FROM checkpoints
     WHERE kind NOT IN ('base', 'external') AND state <> 'broken' ORDER BY id
"""
_SNAPSHOTS = "SELECT id, coalesce(path, name), sha256 FROM snapshots WHERE state = 'ready' ORDER BY id"
# asked of the row as a whole: an earlier release, whose rows are kept before an upgrade, has no such column
_SOURCES = "SELECT id, path, sha256 FROM sources WHERE to_jsonb(sources) ->> 'file_deleted_at' IS NULL ORDER BY id"
# what is of others may still be written; a run that starts again makes it again
_RUNS = "SELECT id FROM training_runs WHERE state = 'succeeded' ORDER BY id"
_GONE = "SELECT id FROM snapshots WHERE id = ANY (%s) AND state <> 'ready'"
_STEP = 1024 * 1024


@dataclass
class Found:
    """Folders to put into a backup, by their name below ``files/``."""

    folders: dict[str, Path] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    """Snapshots that are damaged; see :func:`erased_meanwhile`."""


def named(connection: Connected, data_dir: Path, *, models: bool) -> Found:
    """What the rows name, as the connection's transaction sees them, with what is wrong with it.

    Args:
        connection: To the database.
        data_dir: Where they lie.
        models: Whether the converted base models are taken as well.
    """
    found = Found()
    for number, name, sealed, ready in connection.execute(_CHECKPOINTS).fetchall():
        folder = found.folders[f"checkpoints/{name}"] = data_dir / "checkpoints" / str(name)
        try:
            if ready:
                checkpoint_files.fetch(folder, str(sealed))
            manifest.verify(folder, manifest_sha256=str(sealed))
        except manifest.BrokenCheckpoint as error:
            if ready:
                found.damaged.append(f"Checkpoint {number}: {error}")
    for number, name, sha256 in connection.execute(_SNAPSHOTS).fetchall():
        folder = data_dir / "snapshots" / str(name)
        found.folders[f"snapshots/{name}"] = folder
        frozen.fetch(folder, str(sha256))
        wrong = frozen.damage(folder, str(sha256))
        if wrong:
            found.damaged.append(f"Snapshot {number} {wrong}.")
            found.lost.append(int(str(number)))
    _name_sources(connection, data_dir, found)
    for (number,) in connection.execute(_RUNS).fetchall():
        folder = found.folders[f"runs/run-{number}"] = data_dir / "runs" / f"run-{number}"
        store.fill(folder)
    if models and (data_dir / "models").is_dir():
        found.folders |= {
            f"models/{each.name}": each for each in sorted((data_dir / "models").iterdir()) if _whole(each)
        }
    return found


def _name_sources(connection: Connected, data_dir: Path, found: Found) -> None:
    if connection.execute("SELECT to_regclass('sources') IS NULL").fetchall() == [(True,)]:
        return  # a release before they were
    for number, name, sha256 in connection.execute(_SOURCES).fetchall():
        folder = data_dir / "sources" / str(name)
        found.folders[f"sources/{name}"] = folder
        storing.fetch(folder, str(sha256))
        wrong = storing.damage(folder / storing.ROWS, str(sha256))
        if wrong:
            found.damaged.append(f"Source {number} {wrong}.")


def _whole(model: Path) -> bool:
    return model.is_dir() and not model.name.startswith(".")


def copy_out(writer: Writer, found: Found) -> dict[str, tuple[int, str]]:
    """Write all of it; returns bytes and SHA-256 of each file."""
    written = {}
    for name, folder in found.folders.items():
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            place = f"{name}/{file.relative_to(folder).as_posix()}"
            try:
                written[place] = writer.add_file(f"{FILES}/{place}", file)
            except FileNotFoundError as error:
                raise Conflict(f"{file} was removed while the backup was written: run it again.") from error
    return written


def erased_meanwhile(connection: Connected, found: Found) -> None:
    """See that no snapshot was missing because the one whose words it held was erased after the rows were read.

    Raises:
        Conflict: it was so; a backup made now is without them.
    """
    if connection.execute(_GONE, (found.lost,)).fetchall():
        raise Conflict("A person was erased while the backup was written: run it again, so that it is without them.")


class Placing:
    """The files of a backup on their way into a data folder; :meth:`undo` takes out what :meth:`put` has put there."""

    def __init__(self, contents: Contents, data_dir: Path) -> None:
        """See that all of them have a place.

        Raises:
            Conflict: another thing has it, or the disk has no room. What is the same, byte for byte, is left as it is.
        """
        self._data_dir, self._made = data_dir, list[Path]()
        wanted: dict[str, dict[str, tuple[int, str]]] = {}
        for name, about in contents.files.items():
            wanted.setdefault(_folder(name), {})[name.split("/", 2)[2]] = about
        self._kept = {name for name, files in wanted.items() if self._there(name, files)}
        needed = sum(size for name, files in wanted.items() if name not in self._kept for size, _ in files.values())
        free = shutil.disk_usage(_nearest(data_dir)).free
        if needed > free:
            raise Conflict(f"The files need {needed:,} bytes and {data_dir} has {free:,} free: make room.")

    def _there(self, name: str, files: dict[str, tuple[int, str]]) -> bool:
        folder = self._data_dir / name
        if not folder.exists():
            return False
        found = {each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()}
        if found.keys() != files.keys() or any(_about(path) != files[place] for place, path in found.items()):
            raise Conflict(
                f"{folder} exists and is not what the backup holds: restore into a data folder of its own (--data-dir)."
            )
        return True

    def put(self, members: Iterator[tuple[str, IO[bytes]]]) -> None:
        """Write ``members`` of a backup, each folder under another name until it is whole."""
        for name, files in groupby(members, lambda member: _folder(member[0].removeprefix(f"{FILES}/"))):
            if name in self._kept:
                continue
            folder = self._data_dir / name
            draft = folder.with_name(f".restoring-{folder.name}")
            shutil.rmtree(draft, ignore_errors=True)
            try:
                for place, stream in files:
                    _write(draft / place.split("/", 3)[3], stream)
                draft.rename(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            self._made.append(folder)

    def undo(self) -> None:
        """Remove what was put."""
        for folder in self._made:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(name: str) -> str:
    return "/".join(name.split("/", 2)[:2])


def _nearest(path: Path) -> Path:
    return path if path.exists() else _nearest(path.parent)


def _about(path: Path) -> tuple[int, str]:
    with path.open("rb") as stream:
        return path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, stream: IO[bytes]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            shutil.copyfileobj(stream, out, _STEP)
            out.flush()
            os.fsync(out.fileno())
    except PermissionError as error:
        raise CannotStart(
            f"{path} cannot be written ({error.strerror}): make yourself the owner of the folder."
        ) from error
