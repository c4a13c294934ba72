"""Whether a checkpoint's folder is what its manifest says. What does not verify is not served.

``training.checkpoints`` writes the manifest last; here it is only read, because the application imports no training code.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
SAMPLE = 2**20
WEIGHTS = frozenset(
    {".safetensors", ".gguf", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"}
)


class BrokenCheckpoint(Exception):
    """The folder is not the checkpoint that was written; names the file and what is wrong with it."""


def verify(path: Path, *, manifest_sha256: str | None) -> None:
    """Hash every file in ``path`` and compare it with the manifest, and the manifest with the one that was registered.

    Only safetensors may hold weights: other formats can run code when an engine loads them.

    Raises:
        BrokenCheckpoint: with the reason, for the checkpoint's page.
    """
    raw = _read(path / MANIFEST)
    if manifest_sha256 is not None and hashlib.sha256(raw).hexdigest() != manifest_sha256:
        raise BrokenCheckpoint(f"{path.name}/{MANIFEST} is not the one that was registered.")
    files = _files(path, raw)
    for name, entry in files.items():
        _check(path, name, entry)
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        if file.suffix in WEIGHTS and (name not in files or file.suffix != ".safetensors"):
            raise BrokenCheckpoint(f"{path.name}/{name} holds weights that are not safetensors of this checkpoint.")


def weights_mark(model: str) -> str | None:
    """What tells the weights in a folder from any others, in a moment; None for a hub id, or where there are none.

    Names, sizes, and a mebibyte from the start, the middle and the end of each file: reading all of a large model would
    hold up each start, and who fine-tunes a model changes all of it.
    """
    files = sorted(Path(model).glob("*.safetensors"))
    mark = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        mark.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            for place in (0, size // 2, max(0, size - SAMPLE)):
                stream.seek(place)
                mark.update(stream.read(SAMPLE))
    return mark.hexdigest() if files else None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        name = f"{file.parent.name}/{file.name}"
        raise BrokenCheckpoint(f"{name} cannot be read ({error.strerror}): it is no finished checkpoint.") from error


def _files(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise BrokenCheckpoint(f"{path.name}/{MANIFEST} is not JSON.") from error
    files = manifest.get("files") if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None
    if not isinstance(files, dict) or not files:
        raise BrokenCheckpoint(f"{path.name}/{MANIFEST} does not list files in format {FORMAT}.")
    return files


def _check(path: Path, name: str, entry: Any) -> None:
    file = path / name
    if not file.resolve().is_relative_to(path.resolve()):
        raise BrokenCheckpoint(f"{path.name}/{MANIFEST} names {name}, which lies outside the checkpoint.")
    if not file.is_file():
        raise BrokenCheckpoint(f"{path.name}/{name} is missing.")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not isinstance(entry, dict) or found != entry.get("sha256"):
        raise BrokenCheckpoint(f"{path.name}/{name} has changed since it was written (its SHA-256 differs).")
