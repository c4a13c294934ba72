"""Answers with an export as it is made: no waiting, flat memory, and no connection held for a slow reader."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from functools import partial

from fastapi.responses import FileResponse, Response, StreamingResponse
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.disclosure import disclosed
from app.accounts.models import User
from app.kernel import origin
from app.kernel.db import session_scope
from app.kernel.errors import BadInput, Conflict, Unavailable
from app.kernel.locales import gettext as _
from app.preferences import card, changes, export, files, queries
from app.preferences.changes import Window
from app.preferences.exporters import Format, Shape
from app.preferences.exporters.zip import CARD
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotState
from app.shell.spool import Download
from training.formats.snapshots import ROWS

CURSOR = "corral-cursor"
"""The header that says where the next export goes on."""


def download(
    user: User, shape: Shape, form: Format, wanted: ExportFilter, window: Window | None = None
) -> StreamingResponse:
    """Stream the export, made in a transaction of its own that ends when all is made, however slowly it is read."""
    name = f"preferences-{shape.value}-{datetime.now(UTC):%Y%m%d-%H%M}.{form.value}"
    make = partial(_chunks, user, shape, form, wanted, window)
    answer = Download(name, make, media_type=form.exporter.media_type)
    if window is not None:
        answer.headers[CURSOR] = window.cursor
    return answer


def _chunks(user: User, shape: Shape, form: Format, wanted: ExportFilter, window: Window | None) -> Generator[bytes]:
    with session_scope() as session:
        yield from logged(session, user, shape, form, wanted, export.Progress(), window)


def asked_since(session: Session, since: str | None, shape: Shape, wanted: ExportFilter) -> Window | None:
    """What of ``wanted`` is new since the cursor ``since``; None where nobody asks for that.

    Raises:
        BadInput: the shape cannot say what no longer holds, or it is no cursor of this selection.
        Conflict: the cursor is of another database.
    """
    if since is None:
        return None
    if shape is not Shape.CANONICAL:
        raise BadInput(
            _(
                "Only canonical rows say what was corrected or retracted: ask for changes in that shape, and for all rows "
                "in others."
            )
        )
    if wanted.without:
        raise BadInput(
            _(
                "A prompt that somebody flags later would stay in what you have: ask for changes of everything, or for all rows."
            )
        )
    return changes.window(session, since, wanted)


def logged(
    session: Session,
    user: User | None,
    shape: Shape,
    form: Format,
    wanted: ExportFilter,
    progress: export.Progress,
    window: Window | None = None,
) -> Generator[bytes]:
    """The bytes of an export, with its events in the audit log; ``user`` is None for the command line."""
    return disclosed(
        session,
        user,
        "preferences",
        lambda: export.stream(session, shape, form, wanted, progress, window),
        lambda: progress.rows,
        shape=shape.value,
        format=form.value,
        filter=wanted.model_dump(mode="json", exclude_defaults=True),
        **({} if window is None else {"incremental": window.since is not None}),
    )


def snapshot_card(snapshot: Snapshot) -> Response:
    """What stands in a snapshot, in Markdown, also of one that was frozen before there were cards. It names no model.

    Raises:
        Conflict: it is not ready.
    """
    if snapshot.state is not SnapshotState.READY:
        raise Conflict(
            _("{name} is {state}; there is nothing to describe.", name=snapshot.name, state=snapshot.state.label)
        )
    wanted = ExportFilter.model_validate(snapshot.filter)
    frozen = files.folder(snapshot) / CARD
    if wanted.private and frozen.is_file():  # what was found then, and by which versions
        said = frozen.read_text(encoding="utf-8")
    else:
        said = card.of_snapshot(wanted, snapshot.rows or 0, snapshot.held_out_rows or 0, snapshot.created_at)
    headers = {"content-disposition": f'attachment; filename="{CARD}"'}
    return Response(said, media_type="text/markdown", headers=headers)


def download_snapshot(session: Session, user: User, snapshot: Snapshot) -> FileResponse:
    """The rows of a frozen snapshot, byte for byte what its hash is of. That they were asked for is in the audit log.

    Raises:
        Conflict: it is not ready, or names the models of what ``user`` may still be given to judge.
        Unavailable: this machine does not have its folder.
    """
    if snapshot.state is not SnapshotState.READY:
        raise Conflict(
            _("{name} is {state}; there is nothing to download.", name=snapshot.name, state=snapshot.state.label)
        )
    if queries.names_models_too_early(session, user, snapshot):
        origin.current().refusal = origin.Refusal("download.refused", "snapshot", snapshot.id)
        raise Conflict(
            _(
                "Some comparisons in {name} still need annotators, and its rows name the models. Only admins can "
                "download it until those are done; a snapshot that you freeze yourself leaves those comparisons out.",
                name=snapshot.name,
            )
        )
    path = files.folder(snapshot) / ROWS
    if not path.is_file():
        files.fetch(path.parent, str(snapshot.sha256))
    if not path.is_file():
        raise Unavailable(
            _("The folder of {name} is not on this machine. Restore it, or freeze a new snapshot.", name=snapshot.name)
        )
    accounts.audit(session, user, "snapshot.download", "snapshot", snapshot.id, rows=snapshot.rows)
    headers = {"content-encoding": "identity", "cache-control": "private, max-age=3600"}
    return FileResponse(
        path, media_type=Format.JSONL.exporter.media_type, filename=f"{snapshot.name}.jsonl", headers=headers
    )
