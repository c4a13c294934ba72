"""JSON of dialogues: begin, say, watch (under ``/live``), judge (under ``/assignments``), go on, finish."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, ApiSignedIn, still_lets_in
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import User
from app.candidates import live_pace
from app.candidates.live_api import LastEventId, streamed
from app.candidates.live_pace import Release
from app.dialogues import queries, service
from app.dialogues.forms import Again, DialogueSettings, Finish, Message
from app.dialogues.models import DialogueState, Kept
from app.dialogues.queries import TurnState
from app.kernel.db import DbSession
from app.kernel.numbers import Whole
from app.kernel.paging import Cursor, Limit
from app.prompts.models import BatchState

router = APIRouter(tags=["dialogues"])


class Out(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


_ANSWERS = [{"name": "edited", "text": "Light scatters, blue the most."}, {"name": "B", "text": "Scattering."}]
_TURN: dict[str, Any] = {
    "id": 41,
    "depth": 1,
    "parent_id": None,
    "text": "Why is the sky blue?",
    "state": "judged",
    "generations": [8, 9],
    "assignment_id": 17,
    "answers": _ANSWERS,
}
_DIALOGUE: dict[str, Any] = {
    "id": 4,
    "state": "open",
    "batch_id": 3,
    "batch": "Children's questions",
    "guidelines": "Ask what a child would ask.",
    "system": "Answer so that a child understands.",
    "opening": None,
    "max_turns": 8,
    "system_kept": None,
    "note": "",
    "created_at": "2026-11-25T09:12:00Z",
    "turns": [_TURN],
}


class AnswerOut(Out):
    """A text from which the dialogue can continue; a message names it in `answer`."""

    name: str = Field(description="`edited`, or the letter of a response in first place.")
    text: str


class TurnOut(Out):
    """One turn: your message, its two answers and their state."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_TURN]})

    id: int
    depth: int = Field(description="Depth from 1: how many of your messages lead to it, including its own.")
    parent_id: int | None = Field(description="The turn that it follows.")
    text: str
    state: TurnState
    generations: list[int] = Field(
        description="The two answers, left and right. Follow both under `…/turns/{id}/events`, or one under `/api/v1/live/{id}`."
    )
    assignment_id: int | None = Field(
        description="The assignment in which the answers are judged; request it with `judge`."
    )
    answers: list[AnswerOut] = Field(
        description="Answers it can continue from, once judged; the first one is the default."
    )


class DialogueOut(Out):
    """A dialogue with its tree of turns, oldest first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_DIALOGUE]})

    id: int
    state: DialogueState
    batch_id: int
    batch: str
    guidelines: str = Field(description="Markdown.")
    system: str | None
    opening: str | None = Field(description="The required first message.")
    max_turns: int
    system_kept: Kept | None
    note: str
    created_at: datetime
    turns: list[TurnOut]


class SummaryOut(Out):
    """One of your dialogues."""

    id: int
    batch: str
    state: DialogueState
    begins: str
    turns: int
    created_at: datetime


class OpenOut(Out):
    """A batch in which you can start or continue dialogues."""

    id: int
    name: str
    state: BatchState
    begun: int | None = Field(description="Your open dialogue in it.")
    free: int = Field(description="How many you can begin.")
    deadline: datetime | None = Field(default=None, description="When the batch is due.")
    overdue: bool = False


class DialogueList(BaseModel):
    """The batches you can start in, and your dialogues, newest first. ``next`` is the ``before`` of the following page."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "batches": [{"id": 3, "name": "Pirates", "state": "open", "begun": 4, "free": 11}],
                    "dialogues": [
                        {
                            "id": 4,
                            "batch": "Pirates",
                            "state": "open",
                            "begins": "Ahoy?",
                            "turns": 2,
                            "created_at": "2026-11-25T09:12:00Z",
                        }
                    ],
                    "next": None,
                }
            ]
        }
    )

    batches: list[OpenOut]
    dialogues: list[SummaryOut]
    next: int | None


class Begin(BaseModel):
    """The batch to start in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"batch": 3}]})

    batch: Whole = Field(ge=1)


class ToJudge(BaseModel):
    """Where the answers are judged."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"assignment_id": 17}]})

    assignment_id: int


class DialogueBatchOut(BaseModel):
    """The new batch; open it under `/api/v1/batches/{id}/state`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": 3, "name": "Pirates", "state": "preparing", "dialogues": 20}]}
    )

    id: int
    name: str
    state: BatchState
    dialogues: int = Field(description="How many dialogues can be started.")


@router.post(
    "/batches/dialogues",
    status_code=201,
    response_model=DialogueBatchOut,
    dependencies=[TAKES_KEY],
    summary="Make a batch of dialogues",
)
def create_batch(request: Request, session: DbSession, user: ApiAdmin, settings: DialogueSettings) -> Response:
    """Annotators write the messages; every turn is judged like any comparison."""

    def work() -> DialogueBatchOut:
        batch = service.create(session, user, settings)
        wanted = sum(seed.dialogues for seed in settings.seeds)
        return DialogueBatchOut(id=batch.id, name=batch.name, state=batch.state, dialogues=wanted)

    return once(session, user, request, settings.model_dump_json().encode(), work, status=201)


@router.get("/dialogues", summary="List dialogues you can begin, and your own")
def list_dialogues(session: DbSession, user: ApiSignedIn, before: Cursor = None, limit: Limit = 25) -> DialogueList:
    """Your own dialogues; other people's are never listed here."""
    page = queries.mine(session, user, before=before, limit=limit)
    return DialogueList(
        batches=[OpenOut.model_validate(each) for each in queries.open_batches(session, user)],
        dialogues=[SummaryOut.model_validate(each) for each in page.rows],
        next=page.next,
    )


@router.post("/dialogues", status_code=201, summary="Begin a dialogue")
def begin(session: DbSession, user: ApiSignedIn, body: Begin) -> DialogueOut:
    """Your open dialogue in this batch, otherwise a new one; repeating this returns the same one, so it takes no key."""
    return _shown(session, user, service.begin(session, user, body.batch).id)


@router.get("/dialogues/{dialogue_id}", summary="Read a dialogue")
def get_dialogue(session: DbSession, user: ApiSignedIn, dialogue_id: int) -> DialogueOut:
    """The whole tree. Reviewers and admins may read other people's dialogues."""
    return _shown(session, user, dialogue_id)


@router.post("/dialogues/{dialogue_id}/turns", status_code=201, summary="Send a message")
def say(session: DbSession, user: ApiSignedIn, dialogue_id: int, body: Message) -> TurnOut:
    """Two models answer while you wait. The same `key` is answered with the same turn."""
    return _turn(session, user, dialogue_id, service.say(session, user, dialogue_id, body).id)


@router.post("/dialogues/{dialogue_id}/turns/{turn_id}/again", summary="Retry an answer")
def again(session: DbSession, user: ApiSignedIn, dialogue_id: int, turn_id: int, body: Again) -> TurnOut:
    """Only for answers that failed or are empty, or for one of two identical answers; otherwise nothing changes."""
    service.again(session, user, dialogue_id, turn_id, body.key)
    return _turn(session, user, dialogue_id, turn_id)


@router.post("/dialogues/{dialogue_id}/turns/{turn_id}/judge", summary="Judge the answers to a turn")
def judge(session: DbSession, user: ApiSignedIn, dialogue_id: int, turn_id: int) -> ToJudge:
    """The assignment is created once both answers are complete; repeating the request returns the same one."""
    return ToJudge(assignment_id=service.judge(session, user, dialogue_id, turn_id))


@router.get(
    "/dialogues/{dialogue_id}/turns/{turn_id}/events", response_class=StreamingResponse, summary="Follow both answers"
)
async def events(
    request: Request,
    session: DbSession,
    user: ApiSignedIn,
    dialogue_id: int,
    turn_id: int,
    last_event_id: LastEventId = "",
) -> StreamingResponse:
    """Server-sent events of both answers to a turn of your own, left and right, at one pace.

    ``state`` says how both stand, ``text`` brings as many characters of both (``texts``), ``reset`` voids what came before, and
    ``end`` brings both whole (``replies``). A browser that connects again sends ``Last-Event-ID`` and goes on where it was.
    """
    watched = await asyncio.to_thread(service.watch, session, user, dialogue_id, turn_id)  # 404 before the first byte
    releases = live_pace.follow(user, watched, last_event_id, still_lets_in(request))
    return streamed(live_pace.sent(releases, Release.of_all))


@router.post("/dialogues/{dialogue_id}/finish", summary="Finish a dialogue")
def finish(session: DbSession, user: ApiSignedIn, dialogue_id: int, body: Finish) -> DialogueOut:
    """Nothing can be added afterwards. Finishing twice changes nothing."""
    service.finish(session, user, dialogue_id, body)
    return _shown(session, user, dialogue_id)


def _shown(session: Session, user: User, dialogue_id: int) -> DialogueOut:
    dialogue = queries.access(session, user, dialogue_id)
    turns = queries.turns(session, dialogue)
    asked = queries.generations(session, [each.id for each in turns])
    return DialogueOut(
        id=dialogue.id,
        state=dialogue.state,
        batch_id=dialogue.batch_id,
        batch=dialogue.batch.name,
        guidelines=dialogue.batch.guidelines,
        system=dialogue.seed.system,
        opening=dialogue.seed.opening,
        max_turns=dialogue.batch.max_turns,
        system_kept=dialogue.system_kept,
        note=dialogue.note,
        created_at=dialogue.created_at,
        turns=[
            TurnOut(
                id=each.id,
                depth=each.depth,
                parent_id=each.parent_id,
                text=each.text,
                state=each.state,
                generations=asked.get(each.id, []),
                assignment_id=each.assignment_id,
                answers=[AnswerOut.model_validate(answer) for answer in each.answers],
            )
            for each in turns
        ],
    )


def _turn(session: Session, user: User, dialogue_id: int, turn_id: int) -> TurnOut:
    return next(each for each in _shown(session, user, dialogue_id).turns if each.id == turn_id)
