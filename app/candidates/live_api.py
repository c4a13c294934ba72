"""What a page that waits asks for: the state of a live generation, its text as it comes, and to stop it.

Nothing here says who writes: no name, no speed, no version. A streaming answer holds no database session: the row is read
in short sessions of its own, between the pieces that come from the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated

import orjson
from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app import live_stream
from app.accounts.access import ApiSignedIn
from app.accounts.models import User
from app.candidates import live
from app.candidates.models import LiveGeneration, LiveState
from app.db import DbSession, session_scope
from app.live_stream import START, Entry, StreamAway

router = APIRouter(tags=["annotate"])

POLL_SECONDS = 1.0
"""Between two looks at the row while the broker is away."""
FINISHED = {LiveState.DONE, LiveState.STOPPED, LiveState.FAILED}
OURS = ("The prompt has ", "This prompt cannot be sent", live.GONE, live.UNWRITTEN)
FAILED = "The text could not be generated. Ask for it again; if that fails too, tell an admin."


class LiveOut(BaseModel):
    """A text that is generated while you wait."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 5, "state": "streaming", "position": 0, "text": "Count the pa", "error": None}]
        }
    )

    id: int
    state: LiveState
    position: int = Field(description="How many wait before it.")
    text: str = Field(description="What has come so far, about once a second.")
    error: str | None = Field(description="Why it failed, or what it waits for.")


@dataclass(frozen=True)
class Snapshot:
    """The row at one moment, as far as its user may know it."""

    id: int
    state: LiveState
    position: int
    text: str
    error: str | None


def snapshot(session: Session, user: User, generation_id: int) -> Snapshot:
    """What ``user`` may know of a generation of their own."""
    return _shown(session, live.access(session, user, generation_id))


def _shown(session: Session, row: LiveGeneration) -> Snapshot:
    error = None
    if row.state is LiveState.FAILED:  # an engine's own words may name a model
        error = row.error if row.error and row.error.startswith(OURS) else FAILED
    elif row.state is LiveState.QUEUED and row.error:
        error = "The engine is away for the moment; this goes on when it is back."
    return Snapshot(row.id, row.state, live.position(session, row), row.text, error)


@router.get("/live/{generation_id}", response_model=LiveOut, summary="See how far a text is")
def read(session: DbSession, user: ApiSignedIn, generation_id: int) -> Snapshot:
    """A generation of your own."""
    return snapshot(session, user, generation_id)


@router.post("/live/{generation_id}/stop", response_model=LiveOut, summary="Stop a text")
def stop(session: DbSession, user: ApiSignedIn, generation_id: int) -> Snapshot:
    """What has come is kept. Asked again, or of one that is finished, it changes nothing, so this takes no key."""
    return _shown(session, live.stop(session, user, generation_id))


@router.get("/live/{generation_id}/events", response_class=StreamingResponse, summary="Follow a text")
async def events(
    session: DbSession,
    user: ApiSignedIn,
    generation_id: int,
    last_event_id: Annotated[str, Header(pattern=r"^(\d{1,20}-\d{1,20})?$")] = "",
) -> StreamingResponse:
    """Server-sent events: ``state``, ``text``, ``reset`` (what came before is void) and ``end`` with the whole text.

    A browser that connects again sends ``Last-Event-ID`` and goes on where it was; without it everything comes again.
    """
    await asyncio.to_thread(snapshot, session, user, generation_id)  # 404 before the first byte
    stream = _events(user, generation_id, last_event_id or START)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _events(user: User, generation_id: int, after: str) -> AsyncIterator[bytes]:
    seen = await _look(user, generation_id)
    yield _event("state", seen)
    if seen.state in FINISHED:
        yield _event("end", seen)
        return
    try:
        async for entries in live_stream.follow(generation_id, after):
            for entry in entries:
                if entry.kind in {"text", "reset"}:
                    yield _piece(entry)
            if not entries or any(entry.kind in {"end", "wait", "reset"} for entry in entries):
                seen = await _look(user, generation_id)
                yield _event("state", seen)
            if seen.state in FINISHED:
                yield _event("end", seen)
                return
    except StreamAway:
        async for event in _poll(user, generation_id):
            yield event


async def _poll(user: User, generation_id: int) -> AsyncIterator[bytes]:
    """The same events made of the row alone: less smooth, and good for as long as the broker is away."""
    yield b"event: reset\ndata: {}\n\n"
    shown = ""
    while True:
        seen = await _look(user, generation_id)
        if not seen.text.startswith(shown):
            yield b"event: reset\ndata: {}\n\n"
            shown = ""
        if seen.text != shown:
            yield _data("text", {"text": seen.text[len(shown) :]})
            shown = seen.text
        yield _event("state", seen)
        if seen.state in FINISHED:
            yield _event("end", seen)
            return
        await asyncio.sleep(POLL_SECONDS)


async def _look(user: User, generation_id: int) -> Snapshot:
    """The row, read in a short session in a thread."""

    def look() -> Snapshot:
        with session_scope() as session:
            return snapshot(session, user, generation_id)

    return await asyncio.to_thread(look)


def _event(kind: str, seen: Snapshot) -> bytes:
    values = asdict(seen)
    if kind == "state":
        del values["text"]
    return _data(kind, values)


def _piece(entry: Entry) -> bytes:
    return f"id: {entry.id}\n".encode() + _data(entry.kind, {"text": entry.text} if entry.kind == "text" else {})


def _data(kind: str, value: dict[str, object]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
