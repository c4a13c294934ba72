"""The files of checkpoints on this host: where they are not, they come from the store (:mod:`app.kernel.store`)."""

from __future__ import annotations

from pathlib import Path

from app.kernel import store
from app.kernel.data_folder import HERE
from app.kernel.settings import get_settings
from app.registry.manifest import BrokenCheckpoint, verify


def fetch(folder: Path, manifest_sha256: str | None) -> None:
    """See that the checkpoint that was registered with this manifest lies in ``folder``. Without a store nothing happens.

    Raises:
        Unavailable: the store does not answer.
        OSError: the disk refuses.
    """

    def sound(here: Path) -> bool:
        try:
            verify(here, manifest_sha256=manifest_sha256)
        except (BrokenCheckpoint, OSError):
            return False
        return True

    store.need(folder, sound, identity=manifest_sha256)


def push_base() -> None:
    """Bring the base model into the store, where it lies in the data folder. Without a store nothing happens.

    Raises:
        Unavailable: the store does not answer.
    """
    folder = Path(get_settings().base_model_path)
    if get_settings().name_of(folder).startswith(HERE) and folder.is_dir():
        store.push(folder, pauses=store.BRIEFLY)


def fetch_base(folder: Path) -> None:
    """See that a base model that was converted elsewhere lies in ``folder``; a large one is not read again each time.

    Raises:
        Unavailable: the store does not answer.
        OSError: the disk refuses.
    """
    store.need(folder)
