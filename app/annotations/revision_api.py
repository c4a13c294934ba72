"""JSON of revisions: ask for one, and see those of an item. The text is followed under ``/live/{generation}``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import ApiSignedIn
from app.annotations import queries, revisions
from app.annotations.forms import RevisionRequest
from app.annotations.models import Revision
from app.candidates.models import LiveState
from app.comparisons.models import Assignment
from app.judgements.positions import positions_by_id
from app.kernel.db import DbSession

router = APIRouter(tags=["annotate"])

_REVISION: dict[str, Any] = {
    "id": 3,
    "generation": 5,
    "position": "B",
    "feedback": "Half as long, and say where the number comes from.",
    "state": "done",
    "text": "n(n - 1) / 2: each of n things pairs with n - 1 others, and each pair is counted twice.",
    "created_at": "2026-11-23T02:34:20Z",
}


class RevisionOut(BaseModel):
    """A revision of a response; the text is complete once the state is ``done``."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REVISION]})

    id: int
    generation: int = Field(description="Follow it under `/api/v1/live/{id}`.")
    position: str
    feedback: str
    state: LiveState
    text: str
    created_at: datetime


class RevisionList(BaseModel):
    """The revisions of an item, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"revisions": [_REVISION]}]})

    revisions: list[RevisionOut]


@router.post(
    "/assignments/{assignment_id}/revisions", response_model=RevisionOut, status_code=201, summary="Ask for a revision"
)
def ask(session: DbSession, user: ApiSignedIn, assignment_id: int, body: RevisionRequest) -> RevisionOut:
    """The champion writes while you wait.

    The same request with the same `request_key` is answered with the same revision; another request with it is refused.
    """
    revision = revisions.ask(session, user, assignment_id, body)
    found = next(each for each in revisions.of_assignment(session, assignment_id) if each.id == revision.id)
    return _shown(session, assignment_id, [found])[0]


@router.get("/assignments/{assignment_id}/revisions", response_model=RevisionList, summary="List an item's revisions")
def list_revisions(session: DbSession, user: ApiSignedIn, assignment_id: int) -> RevisionList:
    """All that you asked for on this item, used or not."""
    queries.access_work(session, user, assignment_id)
    return RevisionList(revisions=_shown(session, assignment_id, list(revisions.of_assignment(session, assignment_id))))


def _shown(session: Session, assignment_id: int, found: list[Revision]) -> list[RevisionOut]:
    names = positions_by_id(session.get_one(Assignment, assignment_id).order_shown)
    return [
        RevisionOut(
            id=each.id,
            generation=each.generation_id,
            position=names[each.candidate_id],
            feedback=each.feedback,
            state=each.generation.state,
            text=each.generation.text,
            created_at=each.created_at,
        )
        for each in found
    ]
