"""Everything that rows name and this host has, into the store: what was sealed before there was one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel import store
from app.kernel.data_folder import HERE
from app.kernel.settings import get_settings
from app.preferences import files as frozen
from app.preferences.models import Snapshot, SnapshotState
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.sources import storing
from app.sources.models import Source


def named(session: Session) -> Iterator[Path]:
    """The folders that another host may need, whether this one has them or not."""
    ready = select(Checkpoint).where(Checkpoint.state == CheckpointState.READY).order_by(Checkpoint.id)
    for checkpoint in session.scalars(ready.where(Checkpoint.kind != CheckpointKind.EXTERNAL)):
        if checkpoint.is_adapter or checkpoint.path.startswith(HERE):
            yield checkpoint.folder
    for snapshot in session.scalars(
        select(Snapshot).where(Snapshot.state == SnapshotState.READY).order_by(Snapshot.id)
    ):
        yield frozen.folder(snapshot)
    for source in session.scalars(select(Source).order_by(Source.id)):
        yield storing.rows_file(source).parent


def push(session: Session) -> Iterator[tuple[str, bool]]:
    """Push each; its name, and whether this host has it.

    Raises:
        Unavailable: the store does not answer.
    """
    for folder in named(session):
        here = folder.is_dir()
        if here:
            store.push(folder)
        yield get_settings().name_of(folder).removeprefix(HERE), here
