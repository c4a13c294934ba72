"""Whether a checkpoint's folder is the one that was registered. What does not verify is not served.

``training.formats.checkpoints`` says what a checkpoint is; here its sentences lose the path, which is nothing for a page.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.kernel.locales import N_
from training.formats import checkpoints
from training.formats.checkpoints import DamagedError

MANIFEST = checkpoints.MANIFEST
SAMPLE = 2**20


class BrokenCheckpoint(Exception):
    """The folder is not the checkpoint that was written; names the file and what is wrong with it."""


def verify(path: Path, *, manifest_sha256: str | None) -> None:
    """Hash every file in ``path`` and compare it with the manifest, and the manifest with the one that was registered.

    Only safetensors may hold weights: other formats can run code when an engine loads them.

    Raises:
        BrokenCheckpoint: with the reason, for the checkpoint's page.
    """
    try:
        raw = (path / MANIFEST).read_bytes()
    except OSError as error:
        words = N_("{file} cannot be read ({why}): this is not a finished checkpoint.")
        raise BrokenCheckpoint(words.format(file=f"{path.name}/{MANIFEST}", why=error.strerror)) from error
    if manifest_sha256 is not None and hashlib.sha256(raw).hexdigest() != manifest_sha256:
        raise BrokenCheckpoint(N_("{file} has changed since it was registered.").format(file=f"{path.name}/{MANIFEST}"))
    try:
        checkpoints.verify_files(path, raw)
    except DamagedError as error:
        raise BrokenCheckpoint(f"{path.name}/{error.file} {error.what}.") from error


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
