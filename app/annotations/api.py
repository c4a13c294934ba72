"""JSON of annotations: next, draft, submit, skip. Answers name responses by position and carry texts as they were sampled.

Handlers return bytes that orjson made; the response models document them, and the tests hold the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import ApiSignedIn
from app.accounts.models import User
from app.annotations import gold, queries, recording, service, tour
from app.annotations.forms import DraftSave, Skip, Submission
from app.candidates.traces import blind
from app.comparisons import seats
from app.comparisons.models import AssignmentState
from app.judgements.judgement import Draft
from app.judgements.positions import position
from app.judgements.vocabulary import EditPolicy, Outcome
from app.kernel.db import DbSession, commits
from app.kernel.errors import Conflict
from app.kernel.locales import gettext as _
from app.kernel.numbers import Whole
from app.prompts.models import BatchState, BatchTask
from app.shell.failures import answer
from training.formats.steps import spans

router = APIRouter(tags=["annotate"])

Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="A string that you choose for this submission, e.g. a UUID. Sending the same again is safe.",
    ),
]


class Out(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)


class BatchOut(Out):
    """The batch settings that an annotator needs."""

    id: int
    name: str
    state: BatchState
    deadline: datetime | None = Field(default=None, description="When the batch is due.")
    guidelines: str = Field(description="Markdown.")
    edit_policy: EditPolicy
    task: BatchTask = Field(
        description="`write`: there are no responses; send `outcome` written with your answer in `edited_text`. `steps`: there "
        "is one; send `outcome` labelled with `step_labels`, from the first step to the first wrong one, and what should stand "
        "there in `right_step`."
    )
    attributes: list[dict[str, Any]] = Field(description="Attributes to rate for each response.")
    strength_examples: dict[str, str] = Field(description='Markdown, by strength from "1" to "4".')


class PromptOut(Out):
    """The messages to answer, ending at a user turn."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None


class ResponseOut(Out):
    """One response. Its author is never shown, before or after the judgement."""

    position: str = Field(examples=["A"])
    text: str
    steps: list[dict[str, Any]] = Field(
        default=[], description="Messages before the text, where tools were called: the calls, and what they answered."
    )


class StepOut(Out):
    """A step of the response, by its characters."""

    start: int = Field(examples=[0])
    end: int = Field(examples=[17], description="Exclusive.")
    text: str = Field(examples=["4 times 3 is 12."])


_LEASE: dict[str, Any] = {"fencing_token": 1, "lease_until": "2026-11-23T03:04:20Z", "lease_seconds": 1800}
_DRAFT = {"ranking": [["B"], ["A"]], "strengths": [3], "edits": {"B": "Count them, then ha"}, "active_seconds": 12}
_ASSIGNMENT: dict[str, Any] = _LEASE | {
    "id": 17,
    "state": "active",
    "batch": {
        "id": 3,
        "name": "Everyday questions",
        "state": "open",
        "guidelines": "Prefer what is *true* over what is long.",
        "edit_policy": "optional",
        "task": "compare",
        "attributes": [{"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}],
        "strength_examples": {"4": "Only one of them answers the question."},
    },
    "prompt": {"messages": [{"role": "user", "content": "How many pairs are there among n things?"}], "tools": []},
    "responses": [{"position": "A", "text": "Just count them."}, {"position": "B", "text": "n times (n - 1), halved."}],
    "draft": {"outcome": "ranked", "comment": "A helps nobody."} | _DRAFT,
    "draft_version": 4,
    "annotation_id": None,
    "returned_note": None,
    "steps_to_label": [],
}
_ANNOTATION: dict[str, Any] = {
    "id": 9,
    "assignment_id": 16,
    "outcome": "ranked",
    "created_at": "2026-11-23T02:34:20Z",
    "next": _ASSIGNMENT,
}


class LeaseOut(Out):
    """How long the item is yours."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LEASE]})

    fencing_token: int
    lease_until: datetime
    lease_seconds: int


class AssignmentOut(LeaseOut):
    """An item to judge."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ASSIGNMENT]})

    id: int
    state: AssignmentState
    batch: BatchOut
    prompt: PromptOut
    responses: list[ResponseOut]
    draft: Draft | None
    draft_version: int
    annotation_id: int | None = Field(
        default=None, description="The submission that counts; its content is in `draft`."
    )
    returned_note: str | None = Field(default=None, description="Why a reviewer returned it to you.")
    steps_to_label: list[StepOut] = Field(default=[], description="The steps of the response, where they are labelled.")


class DraftOut(Out):
    """The version that is stored now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 5}]})

    version: int


class FeedbackOut(Out):
    """Feedback on an answer during a batch's qualification."""

    right: bool
    said: str = Field(description="The answer in words, by position.")
    known: str = Field(description="The known answer in words, by position.")
    explanation: str = Field(description="Sanitised HTML.")
    state: gold.State = Field(description="The state of the qualification.")
    needed: int
    answered: int
    correct: int


class AnnotationOut(Out):
    """What was recorded, and the next item if it was asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANNOTATION]})

    id: int
    assignment_id: int
    outcome: Outcome
    created_at: datetime
    feedback: FeedbackOut | None = Field(default=None, description="Only for answers in a qualification.")
    next: AssignmentOut | None = None


class NextIn(BaseModel):
    """Where the next item should come from."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"batch_id": 3}, {}]})

    batch_id: Whole | None = None


def _problem(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {status: {"description": description, "content": {"application/problem+json": {"schema": schema}}}}


CONFLICT = _problem(
    409,
    "The state has changed: lease lost, already submitted, batch not open. The submission is kept as the draft: "
    "`draft_version` is the version to save over.",
)
STALE = _problem(409, "Another window saved first: `stored` is its draft, `version` the version to save over.")
NOT_TOURED = _problem(409, "This batch requires the tour, and you have not finished it: see `/tour`.")
NOTHING: dict[int | str, dict[str, Any]] = {204: {"description": "No item is available for this annotator."}}


@router.post(
    "/annotate/next", response_model=AssignmentOut, responses=NOTHING | NOT_TOURED, summary="Take the next item"
)
@commits
def take_next(session: DbSession, user: ApiSignedIn, body: Annotated[NextIn | None, Body()] = None) -> Response:
    """The item that you hold, otherwise a new one; 204 when nothing is waiting.

    Repeating the request returns the same item until that is submitted, skipped or released, so it takes no key.
    """
    batch_id = body.batch_id if body else None
    assignment = service.next_assignment(session, user, batch_id)
    if assignment is None and tour.awaits(session, user, batch_id):
        raise Conflict(_(tour.REQUIRED))
    if assignment is None:
        return Response(status_code=204)
    return as_json(described(queries.access_work(session, user, assignment.id)))


@router.get("/assignments/{assignment_id}", response_model=AssignmentOut, summary="Read one of your items")
def read(session: DbSession, user: ApiSignedIn, assignment_id: int) -> Response:
    """Any item that you were given, whatever its state."""
    return as_json(described(queries.access_work(session, user, assignment_id)))


@router.put("/assignments/{assignment_id}/draft", response_model=DraftOut, responses=STALE, summary="Save a draft")
def save_draft(session: DbSession, user: ApiSignedIn, assignment_id: int, body: DraftSave) -> Response:
    """Save the draft over the version that you last saw; this also renews the lease of an item in progress.

    Sending the stored draft again returns the same answer, so this takes no key.
    """
    return as_json(
        {"version": service.save_draft(session, user, assignment_id, body.draft, body.version, body.corrects)}
    )


@router.post(
    "/assignments/{assignment_id}/submit",
    response_model=AnnotationOut,
    responses=CONFLICT,
    summary="Submit a judgement",
)
@commits
def submit(
    request: Request,
    session: DbSession,
    user: ApiSignedIn,
    assignment_id: int,
    submission: Submission,
    key: Key,
    *,
    then: Annotated[bool, Query(alias="next", description="Include the next item in the response.")] = False,
) -> Response:
    """Record the judgement once, however often it is sent under one Idempotency-Key."""
    try:
        annotation = recording.submit(session, user, assignment_id, submission, key)
    except Conflict as error:  # answered, not raised: what was typed is committed as the draft
        kept = service.keep_draft(
            session,
            user,
            assignment_id,
            submission.draft(submission.active_seconds or 0),
            submission.fencing_token,
            submission.draft_version,
        )
        if kept is not None:
            error.extra["draft_version"] = kept
        return answer(request, error)
    told = gold.feedback(session, annotation.id, user.id) if annotation.is_explained else None
    return as_json(_annotation(annotation, told, _next(session, user) if then else None))


@router.post(
    "/assignments/{assignment_id}/skip", status_code=204, responses=CONFLICT, summary="Leave an item to others"
)
def skip(session: DbSession, user: ApiSignedIn, assignment_id: int, body: Skip) -> Response:
    """It does not come back to you. Skipping it again changes nothing, so this takes no key; the first reason is kept."""
    service.skip(session, user, assignment_id, body.reason)
    return Response(status_code=204)


@router.post("/assignments/{assignment_id}/lease", response_model=LeaseOut, responses=CONFLICT, summary="Renew a lease")
def renew(session: DbSession, user: ApiSignedIn, assignment_id: int) -> Response:
    """Keep an item in progress; if its lease has expired, you get the seat back while it is free.

    Repeating the request only restarts the lease, under the same token, so this takes no key.
    """
    held = service.extend_lease(session, user, assignment_id)
    return as_json(
        {
            "fencing_token": held.fencing_token,
            "lease_until": held.lease_until,
            "lease_seconds": seats.lease_seconds(),
        }
    )


@router.post("/assignments/{assignment_id}/release", status_code=204, summary="Stop for now")
def release(session: DbSession, user: ApiSignedIn, assignment_id: int) -> Response:
    """Free the seat and keep the draft. Releasing it again changes nothing, so this takes no key."""
    service.release(session, user, assignment_id)
    return Response(status_code=204)


def _next(session: Session, user: User) -> dict[str, Any] | None:
    following = service.next_assignment(session, user)
    return described(queries.access_work(session, user, following.id)) if following else None


def as_json(value: dict[str, Any]) -> Response:
    """An answer of ``value``."""
    return Response(orjson.dumps(value), media_type="application/json", headers={"cache-control": "no-store"})


def described(work: queries.Work) -> dict[str, Any]:
    """An :class:`AssignmentOut` of ``work``."""
    return {
        "id": work.id,
        "state": work.state,
        "fencing_token": work.fencing_token,
        "lease_until": work.lease_until,
        "lease_seconds": work.lease_seconds,
        "batch": {
            "id": work.batch_id,
            "name": work.batch_name,
            "state": work.batch_state,
            "deadline": work.deadline,
            "guidelines": work.guidelines,
            "edit_policy": work.edit_policy,
            "task": work.task,
            "attributes": work.attributes,
            "strength_examples": work.strength_examples,
        },
        "prompt": {"messages": work.messages, "tools": work.tools},
        "responses": [
            {"position": position(index), "text": text, "steps": blind(work.before(index))}
            for index, text in enumerate(work.texts)
        ],
        "draft": work.draft,
        "draft_version": work.draft_version,
        "annotation_id": work.annotation_id,
        "returned_note": work.returned_note,
        "steps_to_label": _steps(work),
    }


def _steps(work: queries.Work) -> list[dict[str, Any]]:
    if work.task is not BatchTask.STEPS:
        return []
    text = work.texts[0]
    return [{"start": start, "end": end, "text": text[start:end]} for start, end in spans(text)]


def _annotation(
    annotation: recording.Recorded, told: gold.Feedback | None, following: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": annotation.id,
        "assignment_id": annotation.assignment_id,
        "outcome": annotation.outcome,
        "created_at": annotation.created_at,
        "feedback": told and _feedback(told),
        "next": following,
    }


def _feedback(told: gold.Feedback) -> dict[str, Any]:
    return {
        "right": told.right,
        "said": told.said,
        "known": told.known,
        "explanation": str(told.explanation),
        "state": told.standing.state,
        "needed": told.standing.needed,
        "answered": told.standing.answered,
        "correct": told.standing.correct,
    }
