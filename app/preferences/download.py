"""Answers with an export as it is made: no waiting, flat memory, and no connection held for a slow reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from datetime import UTC, datetime
from functools import partial

from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy.orm import Session
from starlette.responses import Content
from starlette.types import Receive, Scope, Send

from app.accounts.models import User
from app.db import session_scope
from app.errors import Conflict, Unavailable
from app.preferences import export, queries, service
from app.preferences.forms import ExportFilter, Format, Shape
from app.preferences.freeze import ROWS_FILE
from app.preferences.models import Snapshot, SnapshotState
from app.spool import Spool


def download(shape: Shape, form: Format, wanted: ExportFilter) -> StreamingResponse:
    """Stream the export, made in a transaction of its own that ends when all is made, however slowly it is read."""
    name = f"preferences-{shape.value}-{datetime.now(UTC):%Y%m%d-%H%M}.{form.value}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
        "content-encoding": "identity",  # compressing costs more than the network of those who export this much
    }
    return _Download(partial(_chunks, shape, form, wanted), media_type=form.media_type, headers=headers)


class _Download(StreamingResponse):
    """Has the first part in hand before it says that all is well: a database that is away is answered with a status."""

    def __init__(self, make: Callable[[], Generator[bytes]], media_type: str, headers: dict[str, str]) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        async with Spool(self._make) as spool:
            parts = spool.parts()
            first = await anext(parts, b"")

            async def all_parts() -> AsyncIterator[Content]:
                yield first
                async for part in parts:
                    yield part

            self.body_iterator = all_parts()
            await super().__call__(scope, receive, send)


def _chunks(shape: Shape, form: Format, wanted: ExportFilter) -> Generator[bytes]:
    with session_scope() as session:
        yield from export.stream(session, shape, form, wanted)


def download_snapshot(session: Session, user: User, snapshot: Snapshot) -> FileResponse:
    """The rows of a frozen snapshot, byte for byte what its hash is of.

    Raises:
        Conflict: it is not ready, or names the models of what ``user`` may still be given to judge.
        Unavailable: this machine does not have its folder.
    """
    if snapshot.state is not SnapshotState.READY:
        raise Conflict(f"{snapshot.name} is {snapshot.state.value}; there is nothing to download.")
    if queries.names_models_too_early(session, user, snapshot):
        raise Conflict(
            f"Some comparisons in {snapshot.name} still want annotators, and its rows name the models. Only admins can "
            "download it until those are done; a snapshot that you freeze yourself leaves them out."
        )
    path = service.folder(snapshot) / ROWS_FILE
    if not path.is_file():
        raise Unavailable(
            f"The folder of {snapshot.name} is not on this machine. Restore it, or freeze a new snapshot."
        )
    headers = {"content-encoding": "identity", "cache-control": "private, max-age=3600"}
    return FileResponse(path, media_type=Format.JSONL.media_type, filename=f"{snapshot.name}.jsonl", headers=headers)
