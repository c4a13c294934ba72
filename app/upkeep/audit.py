"""What must hold after any fault, as queries that come back empty. ``corral audit`` prints what they find.

The constraints of the tables make most mistakes impossible; these are the promises between rows, and between rows and
files, that no constraint can carry. Everything here only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.kernel.store import StoreAway
from app.preferences import export
from app.preferences import files as frozen
from app.preferences.models import Snapshot, SnapshotState
from app.prompts import upkeep
from app.registry import files as checkpoint_files
from app.registry import manifest
from app.registry.models import Checkpoint, CheckpointState
from app.sources import storing
from app.sources.models import Source
from app.upkeep.promises import CHECKS

GRACE = 60
"""Seconds by which a lease may be over: the sweeper comes by every ``sweep_interval``, a restart takes longer."""


@dataclass(frozen=True)
class Problem:
    """One row that breaks a promise."""

    row: str
    """Table and id, e.g. ``comparison 12``."""
    what: str
    remedy: str


def audit(session: Session, *, grace: int = GRACE, files: bool = True) -> list[Problem]:
    """Every broken promise, between rows and, with ``files``, between rows and files. Empty is what it must be."""
    problems = [
        *broken_rows(session, grace),
        *unsound_prompts(session),
        *unwritable_rows(session),
    ]
    if files:
        problems += [*broken_snapshots(session), *broken_sources(session), *broken_checkpoints(session)]
    return problems


def broken_rows(session: Session, grace: int = GRACE) -> Iterator[Problem]:
    """What the queries find."""
    bound = {"grace": grace, "lease": get_settings().training_lease}
    for check in CHECKS:
        names = [name for name in bound if f":{name}" in check.query]
        for row in session.execute(text(check.query), {name: bound[name] for name in names}).mappings():
            yield Problem(f"{check.table} {row['id']}", check.what.format_map(dict(row)), check.remedy)


def unsound_prompts(session: Session) -> Iterator[Problem]:
    """Prompts that are not in the one form of messages, or say the same as one on the other side of the split."""
    for prompt_id, what, remedy in (*upkeep.loose(session), *upkeep.parted(session)):
        yield Problem(f"prompt {prompt_id}", what, remedy)


def unwritable_rows(session: Session) -> Iterator[Problem]:
    """Annotations whose rows cannot be written in every shape: one of them would stop each export that holds it."""
    for annotation_id, shape, reason in export.unwritable(session):
        yield Problem(
            f"annotation {annotation_id}",
            f"cannot be written as Parquet in the shape {shape} ({reason})",
            "Download JSON Lines in the meantime, and report how the row came about.",
        )


def _away(fetch: Callable[[], None]) -> str | None:
    """Why files that another host wrote did not come here; None where they did, or are here."""
    try:
        fetch()
    except StoreAway as error:
        return f"could not be looked at. {error.message}"
    return None


def broken_snapshots(session: Session) -> Iterator[Problem]:
    """Ready snapshots whose folder is not what was frozen."""
    for snapshot in session.scalars(
        select(Snapshot).where(Snapshot.state == SnapshotState.READY).order_by(Snapshot.id)
    ):
        folder, sha256 = frozen.folder(snapshot), str(snapshot.sha256)
        found = _away(partial(frozen.fetch, folder, sha256)) or frozen.damage(folder, sha256)
        if found:
            remedy = (
                "Restore the folder from a backup, or freeze a new snapshot; runs that use this one cannot be repeated."
            )
            yield Problem(f"snapshot {snapshot.id}", found, remedy)


def broken_sources(session: Session) -> Iterator[Problem]:
    """Sources whose rows are not those that were added."""
    for source in session.scalars(select(Source).where(Source.file_deleted_at.is_(None)).order_by(Source.id)):
        rows = storing.rows_file(source)
        found = _away(partial(storing.fetch, rows.parent, source.sha256)) or storing.damage(rows, source.sha256)
        if found:
            remedy = (
                "Restore its folder from a backup, or withdraw it and add the file again; until then no run can learn "
                "from it."
            )
            yield Problem(f"source {source.id}", found, remedy)


def broken_checkpoints(session: Session) -> Iterator[Problem]:
    """Ready checkpoints whose folder does not verify. The base is verified by ``corral doctor``: it is made at first start."""
    ready = select(Checkpoint).where(Checkpoint.state == CheckpointState.READY, Checkpoint.manifest_sha256.isnot(None))
    for checkpoint in session.scalars(ready.order_by(Checkpoint.id)):
        try:
            checkpoint_files.fetch(checkpoint.folder, checkpoint.manifest_sha256)
            manifest.verify(checkpoint.folder, manifest_sha256=checkpoint.manifest_sha256)
        except (manifest.BrokenCheckpoint, StoreAway) as error:
            remedy = "Restore the folder from a backup, or retrain it; until then it is never loaded into the engine."
            yield Problem(f"checkpoint {checkpoint.id}", str(error), remedy)
