"""Snapshots: asked for in a request, built by a worker, named by training runs.

A snapshot row is ``building`` until its folder stands under its final name. The builder holds a lock on the row, so two
never build the same; killed, it loses the lock with its connection and the next one starts over.
"""

from __future__ import annotations

import secrets

import structlog
from sqlalchemy import BigInteger, cast, func, insert, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel import store
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.preferences import freeze, queries
from app.preferences.counts import export_rows
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotAnnotation, SnapshotState

log = structlog.get_logger()


def request_snapshot(session: Session, user: User | None, wanted: ExportFilter) -> Snapshot:
    """Ask for a frozen export of what exists now; a worker builds it. ``user`` is None for the nightly run.

    Raises:
        Conflict: no annotation matches.
    """
    if user is not None:
        wanted = queries.visible_to(user, wanted)
    found = queries.tally(session, wanted, get_settings().held_out_percent)
    if not export_rows(found, Shape.CANONICAL, wanted.min_strength):
        raise Conflict(_("Nothing to freeze: no annotation matches ({selection}).", selection=wanted.words()))
    if wanted.until is None:
        wanted = wanted.model_copy(update={"until": queries.last_annotation_id(session)})
    snapshot = Snapshot(
        name=f"snapshot-{secrets.token_hex(4)}",
        filter=wanted.stored(),
        created_by_id=user.id if user else None,
    )
    session.add(snapshot)
    session.flush()
    accounts.audit(session, user, "snapshot.request", "snapshot", snapshot.id, filter=snapshot.filter)
    enqueue(session, Job.BUILD_SNAPSHOT, snapshot.id)
    return snapshot


def claim_snapshot(session: Session, snapshot_id: int) -> Snapshot | None:
    """The snapshot, locked until the transaction ends, when it still is to be built and nobody is building it."""
    query = select(Snapshot).where(Snapshot.id == snapshot_id, Snapshot.state == SnapshotState.BUILDING)
    return session.scalar(query.with_for_update(skip_locked=True))


def build_snapshot(session: Session, snapshot: Snapshot) -> None:
    """Write the folder of a claimed snapshot and record what is in it.

    Raises:
        Unavailable: the disk is too full, or the store is away.
        Conflict: meanwhile nothing matches any more.
    """
    wanted = ExportFilter.model_validate(snapshot.filter)
    target = get_settings().snapshots_dir / snapshot.name
    frozen = freeze.freeze(session, wanted, target)
    if not frozen.rows:
        raise Conflict(_("Nothing to freeze: no annotation matches ({selection}).", selection=wanted.words()))
    if store.is_shared():  # a large one takes a while to send, and the row stays locked meanwhile
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        store.push(target)
    ids = func.unnest(cast(frozen.annotation_ids, ARRAY(BigInteger)))
    session.execute(
        insert(SnapshotAnnotation).from_select(["snapshot_id", "annotation_id"], select(literal(snapshot.id), ids))
    )
    snapshot.path = snapshot.name
    snapshot.sha256 = frozen.sha256
    snapshot.rows, snapshot.train_rows, snapshot.held_out_rows = frozen.rows, frozen.train_rows, frozen.held_out_rows
    snapshot.state = SnapshotState.READY
    session.flush()
    log.info("snapshot_built", snapshot=snapshot.id, rows=frozen.rows, sha256=frozen.sha256)


def fail_snapshot(session: Session, snapshot_id: int, reason: str) -> None:
    """Give a snapshot up, saying why."""
    snapshot = claim_snapshot(session, snapshot_id)
    if snapshot is not None:
        snapshot.state, snapshot.error = SnapshotState.FAILED, reason
        log.error("snapshot_failed", snapshot=snapshot_id, reason=reason)


def ring_for_unfinished(session: Session) -> None:
    """Ring again for snapshots that wait: a lost message costs a sweep.

    Nothing is locked, for whoever comes to build one passes over a locked row. One that is being built is rung for in
    vain.
    """
    for snapshot_id in session.scalars(select(Snapshot.id).where(Snapshot.state == SnapshotState.BUILDING)):
        enqueue(session, Job.BUILD_SNAPSHOT, snapshot_id)
