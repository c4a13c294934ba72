"""The files of snapshots on this host: whether they are what was frozen; where they are not, they come from the store."""

from __future__ import annotations

from pathlib import Path

from app.kernel import store
from app.kernel.settings import get_settings
from app.preferences.models import Snapshot
from training.formats import snapshots


def folder(snapshot: Snapshot) -> Path:
    """Where the files of a ready snapshot lie on this host, or will."""
    return get_settings().snapshots_dir / (snapshot.path or snapshot.name)


def fetch(path: Path, sha256: str) -> None:
    """See that the snapshot whose rows were frozen with ``sha256`` lies in ``path``. Without a store nothing happens.

    Raises:
        Unavailable: the store does not answer.
        OSError: the disk refuses.
    """
    store.need(path, lambda here: damage(here, sha256) is None)


def damage(path: Path, sha256: str) -> str | None:
    """What is wrong with the folder of a snapshot whose rows were frozen with ``sha256``; None where nothing is."""
    try:
        seal, prompts_changed = snapshots.seal(path), snapshots.prompts_changed(path)
    except OSError as error:
        return f"cannot be read: {error.filename} ({error.strerror})"
    except ValueError:
        return f"has a {snapshots.MANIFEST} that cannot be understood"
    if seal.sha256 != sha256:
        digests = f"SHA-256 {seal.sha256[:12]}…, not {sha256[:12]}…"
        return f"has a {snapshots.ROWS} that differs from what was frozen ({digests})"
    if prompts_changed:
        return f"has a {snapshots.PROMPTS} that differs from what was frozen"
    return None if seal.noted_sha256 == seal.sha256 else f"has a {snapshots.MANIFEST} for other rows"
