"""JSON of undo: of one assignment, or of what was done last and so on back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiSignedIn
from app.annotations import history, queries, recording
from app.annotations.api import CONFLICT, AssignmentOut, as_json, described
from app.kernel.db import DbSession
from app.kernel.errors import Conflict
from app.kernel.locales import gettext as _
from app.kernel.numbers import Whole

router = APIRouter(tags=["annotate"])


class UndoIn(BaseModel):
    """Where the way back begins."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}, {"before": 16}]})

    before: Whole | None = Field(
        default=None,
        ge=0,
        description="The assignment that undo gave last: the one before it is undone. Null: the newest.",
    )


@router.post(
    "/assignments/{assignment_id}/undo",
    response_model=AssignmentOut,
    responses=CONFLICT,
    summary="Undo a submission or a skip",
)
def undo(session: DbSession, user: ApiSignedIn, assignment_id: int) -> Response:
    """Undo a submit within ten seconds, or a skip: the item is in progress again, with what you said as its draft.

    Later a submission is corrected instead: the conflict has its id in `corrects`, to submit the item again with. A skip cannot
    be undone once others have taken the item. Repeating the request returns the same answer, so this takes no key.
    """
    recording.undo(session, user, assignment_id)
    return as_json(described(queries.access_work(session, user, assignment_id)))


@router.post("/annotate/undo", response_model=AssignmentOut, responses=CONFLICT, summary="Go back to what you did last")
def undo_last(session: DbSession, user: ApiSignedIn, body: Annotated[UndoIn | None, Body()] = None) -> Response:
    """What you submitted or skipped last or, with `before`, the one before that.

    Just submitted, or skipped, it is in progress again. Later it comes as `submitted`: submit it again with `annotation_id` as
    `corrects`; until then what you said counts. Repeating the request with the same `before` returns the same item as long as
    it is not in progress, so this takes no key.
    """
    last = history.step_back(session, user, body.before if body else None)
    if last is None:
        raise Conflict(_(history.NOTHING))
    try:
        recording.undo(session, user, last)
    except Conflict as error:
        if "corrects" not in error.extra:
            raise
    return as_json(described(queries.access_work(session, user, last, correct=True)))
