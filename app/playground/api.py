"""JSON of the playground: ask, follow both answers, stop (under ``/live``), and see which is which."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, still_lets_in
from app.candidates import live_pace
from app.candidates.live_api import LastEventId, streamed
from app.candidates.live_pace import Release
from app.candidates.models import LiveState
from app.kernel.db import DbSession
from app.playground import service
from app.playground.forms import SIDES, Ask
from app.playground.models import Trial

router = APIRouter(tags=["playground"])

_EXAMPLE: dict[str, Any] = {
    "id": 3,
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "blind": True,
    "answers": [
        {"side": "A", "generation": 8, "state": "done", "text": "Light scatters.", "error": None, "model": None},
        {"side": "B", "generation": 9, "state": "done", "text": "Scattering.", "error": None, "model": None},
    ],
    "created_at": "2026-11-25T09:12:00Z",
}


class TrialAnswer(BaseModel):
    """One side of a trial."""

    side: str = Field(description="`A` is left, `B` is right.")
    generation: int = Field(description="Stop it, and with it the other one, under `/api/v1/live/{id}/stop`.")
    state: LiveState
    text: str = Field(description="The text so far, as much of both sides; the whole text once both are complete.")
    error: str | None
    model: str | None = Field(description="The checkpoint; null in a blind trial until you reveal it.")


class TrialOut(BaseModel):
    """A message and its two answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: int
    messages: list[dict[str, str]] = Field(description="The conversation that both were sent; the message is its last.")
    blind: bool
    answers: list[TrialAnswer]
    created_at: datetime


@router.post("/playground", status_code=201, summary="Ask two models at once")
def ask(session: DbSession, user: ApiAdmin, body: Ask) -> TrialOut:
    """The champion and one other model in service. Nothing of it is judged, exported or trained on.

    The same `key` is answered with the same trial.
    """
    return _shown(session, service.ask(session, user, body))


@router.get("/playground/{trial_id}", summary="Read a trial")
def get_trial(session: DbSession, user: ApiAdmin, trial_id: int) -> TrialOut:
    """A trial of your own."""
    return _shown(session, service.access(session, user, trial_id))


@router.post("/playground/{trial_id}/reveal", summary="See who wrote which")
def reveal(session: DbSession, user: ApiAdmin, trial_id: int) -> TrialOut:
    """Possible once both answers are complete. Revealing it again changes nothing."""
    return _shown(session, service.reveal(session, user, trial_id))


@router.get("/playground/{trial_id}/events", response_class=StreamingResponse, summary="Follow a trial")
async def events(
    request: Request, session: DbSession, user: ApiAdmin, trial_id: int, last_event_id: LastEventId = ""
) -> StreamingResponse:
    """Server-sent events of both answers at one pace, as of a turn of a dialogue."""
    watched = await asyncio.to_thread(service.watch, session, user, trial_id)  # 404 before the first byte
    releases = live_pace.follow(user, watched, last_event_id, still_lets_in(request))
    return streamed(live_pace.sent(releases, Release.of_all))


def _shown(session: Session, trial: Trial) -> TrialOut:
    names = service.names(trial) or (None, None)
    answers = []
    for side, row, name in zip(SIDES, (trial.left, trial.right), names, strict=True):
        seen = live_pace.shown(session, row)
        answers.append(
            TrialAnswer(side=side, generation=row.id, state=seen.state, text=seen.text, error=seen.error, model=name)
        )
    return TrialOut(
        id=trial.id, messages=trial.messages, blind=trial.blind, answers=answers, created_at=trial.created_at
    )
