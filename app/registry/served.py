"""The folder from which engines load adapters by themselves.

vLLM's filesystem resolver looks for a name that it does not serve yet in ``VLLM_LORA_RESOLVER_CACHE_DIR``, joins the two
unchecked, and takes what is there if ``base_model_name_or_path`` is, letter by letter, what the engine was started with as
``--model``. So this folder holds nothing but adapters that verified; each is put there whole, by rename; and a name that could
lead out of it is refused, here and where requests are sent (:mod:`workers.engines.openai`). Only the reconciler writes here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Final

from app.registry.manifest import MANIFEST, BrokenCheckpoint, verify

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
"""Of an adapter: what can be one folder's name, never a path."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class NotPublished(Exception):
    """An adapter that verified could not be put where engines find it; the message says why."""


def is_name(name: str) -> bool:
    """Whether an adapter may be called so."""
    return NAME.fullmatch(name) is not None


def publish(folder: Path, name: str, checkpoint: Path, *, manifest_sha256: str | None, base: str) -> None:
    """Verify ``checkpoint`` and put it into ``folder`` as ``name``, for engines whose ``--model`` is ``base``.

    Weights are a hard link where the disk is one, else a copy. What was trained on another host names the base by another
    path: the copy names it as the engines do. Done twice it is the same.

    Raises:
        BrokenCheckpoint: its files are not those that were registered; no engine finds it any more.
        NotPublished: the name is a path, or the disk refuses.
    """
    if not is_name(name):
        raise NotPublished(f"{name!r} cannot be served: a name has letters, digits, dots, dashes and underscores.")
    try:
        verify(checkpoint, manifest_sha256=manifest_sha256)
    except BrokenCheckpoint:
        withdraw(folder, name)
        raise
    try:
        if not _is_published(folder / name, checkpoint, base):
            _put(folder, name, checkpoint, base)
    except (OSError, ValueError) as error:
        raise NotPublished(f"{name} cannot be put into the folder {folder.name} for the engines: {error}.") from error


def published(folder: Path) -> set[str]:
    """The names that engines find in ``folder``."""
    return {each.name for each in folder.iterdir() if is_name(each.name)} if folder.is_dir() else set()


def withdraw(folder: Path, name: str) -> None:
    """No engine that has not loaded ``name`` finds it any more."""
    if not is_name(name):
        return
    gone = folder / f".{name}.gone"
    shutil.rmtree(gone, ignore_errors=True)
    if (folder / name).exists():
        (folder / name).rename(gone)  # whole until it is gone: an engine never reads half of one
        shutil.rmtree(gone, ignore_errors=True)


def _is_published(place: Path, checkpoint: Path, base: str) -> bool:
    """Whether ``place`` is this checkpoint for this base; its weights are the same file, or as large."""
    try:
        said = json.loads((place / CONFIG).read_bytes())
        same = (place / MANIFEST).read_bytes() == (checkpoint / MANIFEST).read_bytes()
        weights, own = (place / WEIGHTS).stat(), (checkpoint / WEIGHTS).stat()
    except (OSError, ValueError):
        return False
    linked = (weights.st_dev, weights.st_ino) == (own.st_dev, own.st_ino)
    return same and said.get("base_model_name_or_path") == base and (linked or weights.st_size == own.st_size)


def _put(folder: Path, name: str, checkpoint: Path, base: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.tmp"
    shutil.rmtree(draft, ignore_errors=True)  # of a worker that was killed meanwhile
    draft.mkdir()
    try:
        for file in (WEIGHTS, MANIFEST):
            _link(checkpoint / file, draft / file)
        said = json.loads((checkpoint / CONFIG).read_bytes()) | {"base_model_name_or_path": base}
        with (draft / CONFIG).open("w", encoding="utf-8") as stream:
            json.dump(said, stream, indent=2, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        withdraw(folder, name)  # the same name for another base: no folder replaces one that holds files
        draft.rename(folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that knows no links
        with source.open("rb") as given, target.open("wb") as made:
            shutil.copyfileobj(given, made)
            made.flush()
            os.fsync(made.fileno())
