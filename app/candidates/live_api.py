"""What a page that waits asks for: the state of a live generation, its text as it comes, and to stop it.

Nothing here says who writes: no name, no speed, no version. A streaming answer holds no database session: the row is read
in short sessions of its own, between the pieces that come from the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiSignedIn, still_lets_in
from app.candidates import live, live_events, live_pace
from app.candidates.live_events import Snapshot
from app.candidates.live_pace import shown, snapshot
from app.candidates.models import LiveGeneration, LiveState
from app.kernel.db import DbSession

router = APIRouter(tags=["annotate"])

LastEventId = Annotated[str, Header(pattern=r"^(\d{1,20}-\d{1,20})?$")]


class LiveOut(BaseModel):
    """A text that is generated while you wait."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": 5, "state": "streaming", "position": 0, "text": "Count the pa", "error": None}]
        }
    )

    id: int
    state: LiveState
    position: int = Field(description="How many texts are queued before it.")
    text: str = Field(description="The text so far, about once a second.")
    error: str | None = Field(description="Why it failed, or what it is waiting for.")


@router.get("/live/{generation_id}", response_model=LiveOut, summary="Read the progress of a text")
def read(session: DbSession, user: ApiSignedIn, generation_id: int) -> Snapshot:
    """A generation of your own."""
    return snapshot(session, user, generation_id)


@router.post("/live/{generation_id}/stop", response_model=LiveOut, summary="Stop a text")
def stop(session: DbSession, user: ApiSignedIn, generation_id: int) -> Snapshot:
    """The text so far is kept. Where a turn has two answers, both are stopped, and cut to the same length.

    Stopping it again, or one that is finished, changes nothing, so this takes no key.
    """
    return shown(session, live.stop(session, user, generation_id))


@router.get("/live/{generation_id}/events", response_class=StreamingResponse, summary="Follow a text")
async def events(
    request: Request,
    session: DbSession,
    user: ApiSignedIn,
    generation_id: int,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """Server-sent events: ``state``, ``text``, ``reset`` (what came before is void) and ``end`` with the whole text.

    A browser that connects again sends ``Last-Event-ID`` and goes on where it was; without it everything comes again. The two
    answers to a turn of a dialogue come at one pace, and end together.
    """

    def opened() -> Sequence[LiveGeneration]:
        return live.side_by_side(session, live.access(session, user, generation_id))

    rows = await asyncio.to_thread(opened)  # 404 before the first byte
    if len(rows) == 1:
        return streamed(live_events.follow(user, generation_id, last_event_id, still_lets_in(request)))
    index = [each.id for each in rows].index(generation_id)
    releases = live_pace.follow(user, live_pace.together(rows), last_event_id, still_lets_in(request))
    return streamed(live_pace.sent(releases, lambda release: release.of_one(index)))


def streamed(events: AsyncIterator[bytes]) -> StreamingResponse:
    """Server-sent events, as they come."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)
