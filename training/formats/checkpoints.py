"""Folders of weights that either exist whole or not at all.

A checkpoint is a directory with a `manifest.json` that names every file in it with its SHA-256. `write` fills a
temporary directory beside the target, syncs it to disk and renames it: a process killed at any moment leaves either
the finished checkpoint or none. `verify` refuses a folder with a changed byte, a missing file, a weight file that the
manifest does not know, or weights in a format that can run code when it is loaded (pickle). Only safetensors passes.
Training reads a whole `Manifest`; the site, which only asks whether the folder is what was registered, calls
`verify_files`.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.formats import files
from training.formats.aside import is_broken, set_aside
from training.formats.errors import CheckpointError

FORMAT = 1
MANIFEST = "manifest.json"
# What torch, joblib and numpy write by pickling: loading one runs whatever its author wrote into it.
PICKLED = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"})
WEIGHTS = frozenset({".safetensors", ".gguf"}) | PICKLED


class DamagedError(CheckpointError):
    """A folder that is not what was written into it; `file` is relative to the folder, `what` is wrong with it."""

    def __init__(self, folder: Path, file: str, what: str, remedy: str) -> None:
        super().__init__(f"{folder / file} {what}: {remedy}")
        self.file, self.what = file, what


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is and where it came from.

    `kind` is `reward`, `policy`, `base` or `trainer_state` (the state of an unfinished run, which alone may hold
    torch's own optimizer files). `parent` is `{"name", "manifest_sha256"}` of the adapter that training started from,
    `files` maps a relative path to `{"sha256", "bytes"}`. `base_sha256` are the weights below an adapter
    (`models.weights_sha256`); older checkpoints do not say it.
    """

    name: str
    kind: str
    base_model: str
    parent: dict[str, str] | None = None
    snapshot_sha256: str | None = None
    seed: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    created_at: str = ""
    base_sha256: str | None = None
    format: int = FORMAT


@contextmanager
def locked(file: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock that goes with the process, however it ends.

    Raises:
        BlockingIOError: somebody else holds it and `wait` is false.
    """
    if is_broken(file, Path.is_file):
        set_aside(file)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextmanager
def write(path: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield an empty directory to fill; on a clean exit it becomes the checkpoint at `path`.

    Raises:
        CheckpointError: `path` exists, or what was written is not safe to load.
    """
    if path.exists():
        raise CheckpointError(f"{path} already exists: checkpoints are never overwritten, choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.tmp-*"):  # of a run that was killed while it wrote
        shutil.rmtree(leftover, ignore_errors=True)
    draft = path.parent / f".{path.name}.tmp-{os.getpid()}"
    draft.mkdir()
    try:
        yield draft
        seal(draft, manifest)
        draft.rename(path)
        files.sync(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def seal(path: Path, manifest: Manifest) -> None:
    """Sync every file of the directory and write its manifest last: from here on the checkpoint exists."""
    found, draft = _files(path), path / f"{MANIFEST}.tmp"
    for file in found:
        _check_format(path, file, pickled=manifest.kind == "trainer_state")
    hashed = {}
    draft.touch()
    for file in found:
        file.chmod(draft.stat().st_mode)  # safetensors are created 0600; who reads a checkpoint, the umask decides
        files.sync(file)
        hashed[file.relative_to(path).as_posix()] = {"sha256": sha256(file), "bytes": file.stat().st_size}
    created_at = manifest.created_at or datetime.now(UTC).isoformat(timespec="seconds")
    body = asdict(replace(manifest, files=hashed, created_at=created_at))
    draft.write_text(json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    files.sync(draft)
    draft.rename(path / MANIFEST)
    for directory in {path, *(file.parent for file in _files(path))}:
        files.sync(directory)


def read(path: Path) -> Manifest:
    """The manifest of a checkpoint, without looking at the files that it names.

    Raises:
        CheckpointError: there is none, or it cannot be understood.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
    except FileNotFoundError:
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: give the folder of a finished checkpoint") from None
        raise CheckpointError(f"{path} has no {MANIFEST}: it is not a finished checkpoint, make it again") from None
    body = _body(path, raw)
    try:
        manifest = Manifest(**body)
    except TypeError as error:
        raise _unreadable(path, error) from error
    _listed(path, body)
    return manifest


def verify(path: Path, *kinds: str) -> Manifest:
    """Hash every file and compare with the manifest.

    Args:
        path: The checkpoint directory.
        kinds: What it may be; any kind except `trainer_state` where none is given.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    manifest = read(path)
    if manifest.kind not in (kinds or ("reward", "policy", "base")):
        raise CheckpointError(f"{path} is a checkpoint of kind {manifest.kind}, but must be {' or '.join(kinds)}")
    _compare(path, manifest.files, pickled=manifest.kind == "trainer_state")
    return manifest


def verify_files(path: Path, raw: bytes) -> None:
    """Hash every file of a checkpoint that can be served, and compare with its manifest, whatever else that says.

    Args:
        path: The checkpoint directory.
        raw: The content of its manifest, which the caller has compared with the one that was registered.

    Raises:
        DamagedError: naming the file and what is wrong with it.
    """
    _compare(path, _listed(path, _body(path, raw)), pickled=False)


def _body(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise _unreadable(path, error) from error
    if not isinstance(body, dict):
        raise _unreadable(path, "it is no object")
    return body


def _unreadable(path: Path, reason: object) -> DamagedError:
    return DamagedError(path, MANIFEST, f"cannot be read ({reason})", "make the checkpoint again")


def _listed(path: Path, body: dict[str, Any]) -> dict[str, Any]:
    """The entry of each file that a manifest names."""
    said, files = body.get("format", FORMAT), body.get("files")
    if said != FORMAT:
        remedy = "read it with the version that wrote it, or make the checkpoint again"
        raise DamagedError(path, MANIFEST, f"has format {said!r}, but this version reads {FORMAT}", remedy)
    if not isinstance(files, dict) or not files:
        raise DamagedError(path, MANIFEST, "names no files", "make the checkpoint again")
    return files


def _compare(path: Path, files: dict[str, Any], *, pickled: bool) -> None:
    """Refuse the first file that is not as its entry says, and weights that have none or can run code."""
    for file in _files(path):
        _check_format(path, file, pickled=pickled)
    for name, entry in files.items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise DamagedError(path, MANIFEST, f"names {name}, which lies outside the checkpoint", "do not use it")
        if not file.is_file():
            raise DamagedError(path, name, "is missing although the manifest names it", "restore the checkpoint")
        if not isinstance(entry, dict) or sha256(file) != entry.get("sha256"):
            what = "has changed since it was written (its SHA-256 differs)"
            raise DamagedError(path, name, what, "restore the checkpoint")
    for file in _files(path):
        name = file.relative_to(path).as_posix()
        if file.suffix in WEIGHTS and name not in files:
            raise DamagedError(path, name, "contains weights that the manifest does not name", "remove it")


def manifest_sha256(path: Path) -> str:
    """The identity of a checkpoint: every byte in it hangs on this hash."""
    return sha256(path / MANIFEST)


def sha256(file: Path) -> str:
    """Hex digest of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_unsafe_weights(path: Path) -> None:
    """Refuse a model folder that is not a checkpoint of ours (no manifest) unless its weights are safetensors.

    Raises:
        CheckpointError: naming the first pickled file, or saying that there are no safetensors.
    """
    if not any(path.glob("*.safetensors")):
        pickled = next((file.name for file in _files(path) if file.suffix in PICKLED), None)
        found = f"only {pickled}, a pickle, which can run code" if pickled else "no weights"
        raise CheckpointError(f"{path} holds {found}: save the model as safetensors")


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != MANIFEST)


def _check_format(path: Path, file: Path, *, pickled: bool) -> None:
    """Refuse weights that are not safetensors; with `pickled` also pickles pass."""
    if file.suffix in PICKLED:
        what = None if pickled else "is a pickle, which can run code when it is loaded"
    else:
        what = "contains weights that are not safetensors" if file.suffix in WEIGHTS - {".safetensors"} else None
    if what:
        raise DamagedError(path, file.relative_to(path).as_posix(), what, "save it as safetensors")
