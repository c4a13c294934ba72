"""HTML of dialogues: begin one, write a turn, watch two answers come, and go on from the one that was judged best."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Form as Field
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from app.accounts.access import Admin, Reviewer, SignedIn, admin
from app.accounts.models import User
from app.candidates import live
from app.dialogues import queries, service
from app.dialogues.forms import DialogueSettings, Finish, Message, seeds_of
from app.dialogues.pages import BatchPage, DialoguesPage, Form, NewPage, dialogue_page, kept_in_words
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput, Conflict, TooMany, Unavailable
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.paging import Cursor
from app.prompts.forms import field_errors, with_examples
from app.prompts.intake import AdminForm
from app.prompts.queries import access_batch
from app.shell.posted import unknown
from app.shell.web import redirect, render

router = APIRouter()

TurnId = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
PAGE = 50
DEFAULTS = {"dialogues": "1", "max_turns": "8", "max_tokens": "256", "edit_policy": "optional"}
FIELDS = {*DialogueSettings.model_fields, "dialogues", "systems", "openings", "tests"} - {"seeds"}


class Typed(BaseModel):
    """A form as a browser sends it; what is wrong with it is said beside its fields."""

    model_config = ConfigDict(extra="forbid")

    text: str = ""
    after: str = ""
    answer: str = ""
    key: str = ""


class TypedEnd(BaseModel):
    """The form at the end of a dialogue."""

    model_config = ConfigDict(extra="forbid")

    system_kept: str = ""
    note: str = ""
    turn: str = ""


# ── The admin's ──────────────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/batches/new/dialogues", dependencies=[Depends(admin)])
def new_batch(request: Request) -> HTMLResponse:
    """The form of a batch of dialogues."""
    return render(request, "dialogues/new.html", NewPage(DEFAULTS, {}))


@router.post("/batches/new/dialogues")
def create_batch(request: Request, session: DbSession, user: Admin, sent: AdminForm) -> Response:
    """Create the batch; what is wrong is answered beside its field."""
    fields = with_examples(sent.fields)
    unknown(fields.keys() - FIELDS)
    try:
        count = int(fields.pop("dialogues", "") or "0")
        systems, openings, tests = (fields.pop(name, "") for name in ("systems", "openings", "tests"))
        seeds = [seed.model_dump() for seed in seeds_of(systems, openings, count, tests)]
        batch = service.create(session, user, DialogueSettings.model_validate(fields | {"seeds": seeds}))
    except ValidationError as error:
        wrong = field_errors(error)
        if "seeds" in wrong or "dialogues" in wrong:
            wrong["dialogues"] = wrong.pop("seeds", "") or wrong["dialogues"]
        wrong.setdefault("form", wrong.get("", _("Not saved. Please fix the fields marked below.")))
        return render(request, "dialogues/new.html", NewPage(sent.fields, wrong), status=422)
    except (ValueError, BadInput) as error:
        named = error.extra.get("errors", []) if isinstance(error, BadInput) else []
        wrong = {one["loc"]: one["msg"] for one in named} or {
            "dialogues": _("This should be a number from 1 to {most}.", most=number(1000))
        }
        return render(request, "dialogues/new.html", NewPage(sent.fields, wrong), status=422)
    return redirect(
        request,
        f"/batches/{batch.id}",
        flash=_("“{name}” was created. Open it so that annotators can start.", name=batch.name),
    )


@router.get("/batches/{batch_id}/dialogues")
def batch_dialogues(
    request: Request, session: DbSession, user: Reviewer, batch_id: int, before: Cursor = None
) -> HTMLResponse:
    """Everybody's dialogues of one batch, for reviewers and admins to read."""
    batch = access_batch(session, user, batch_id)
    found = queries.of_batch(session, batch, before=before, limit=PAGE)
    finished, begun, wanted = queries.progress(session, batch)
    page = BatchPage(
        batch=batch,
        dialogues=found.rows,
        finished=finished,
        begun=begun,
        wanted=wanted,
        kept=kept_in_words(),
        next=found.next,
        first=before is None,
    )
    return render(request, "dialogues/batch.html", page)


# ── The annotator's ──────────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/dialogues")
def dialogues(request: Request, session: DbSession, user: SignedIn, before: Cursor = None) -> HTMLResponse:
    """The batches to start or continue in, and the reader's own dialogues, newest first."""
    found = queries.mine(session, user, before=before, limit=PAGE)
    page = DialoguesPage(
        batches=queries.open_batches(session, user),
        mine=found.rows,
        next=found.next,
        first=before is None,
    )
    return render(request, "dialogues/dialogues.html", page)


@router.post("/dialogues")
def begin(request: Request, session: DbSession, user: SignedIn, batch: Annotated[int, Field()]) -> Response:
    """Start a dialogue, or continue the open one."""
    try:
        dialogue = service.begin(session, user, batch)
    except Conflict as error:
        return redirect(request, "/dialogues", flash=error.message)
    return redirect(request, f"/dialogues/{dialogue.id}")


@router.get("/dialogues/{dialogue_id}")
def dialogue(
    request: Request, session: DbSession, user: SignedIn, dialogue_id: int, turn: TurnId = None
) -> HTMLResponse:
    """One dialogue at one turn, else at its newest."""
    return _page(request, session, user, dialogue_id, turn)


@router.post("/dialogues/{dialogue_id}/turns")
def say(
    request: Request, session: DbSession, user: SignedIn, dialogue_id: int, typed: Annotated[Typed, Field()]
) -> Response:
    """Send a message, and watch the answers come."""
    after = int(typed.after) if typed.after.isdecimal() and len(typed.after) < 19 else None
    form = Form(text=typed.text, answer=typed.answer)
    try:
        message = Message(text=typed.text, after=after, answer=typed.answer, key=typed.key)
        made = service.say(session, user, dialogue_id, message)
    except ValidationError as error:
        return _page(request, session, user, dialogue_id, after or 0, replace(form, errors=field_errors(error)), 422)
    except (BadInput, Conflict, TooMany, Unavailable) as error:
        return _page(request, session, user, dialogue_id, after or 0, _wrong(form, error), error.status)
    return redirect(request, f"/dialogues/{dialogue_id}?turn={made.id}")


@router.post("/dialogues/{dialogue_id}/turns/{turn_id}/judge")
def judge(request: Request, session: DbSession, user: SignedIn, dialogue_id: int, turn_id: int) -> Response:
    """Go and judge the answers; where they cannot be compared, the dialogue says why."""
    try:
        assignment = service.judge(session, user, dialogue_id, turn_id)
    except Conflict:
        return redirect(request, f"/dialogues/{dialogue_id}?turn={turn_id}")
    return redirect(request, f"/assignments/{assignment}")


@router.post("/dialogues/{dialogue_id}/turns/{turn_id}/again")
def again(
    request: Request,
    session: DbSession,
    user: SignedIn,
    dialogue_id: int,
    turn_id: int,
    key: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,100}$")],
) -> Response:
    """Regenerate the answers that cannot be compared."""
    try:
        service.again(session, user, dialogue_id, turn_id, key)
    except (Conflict, TooMany, Unavailable) as error:
        return _page(request, session, user, dialogue_id, turn_id, Form(problem=error.message), error.status)
    return redirect(request, f"/dialogues/{dialogue_id}?turn={turn_id}")


@router.post("/dialogues/{dialogue_id}/turns/{turn_id}/stop")
def stop(request: Request, session: DbSession, user: SignedIn, dialogue_id: int, turn_id: int) -> Response:
    """Stop both answers; what has come stays."""
    found = queries.access(session, user, dialogue_id)
    for reply in live.replies(session, queries.turn(session, found, turn_id).id)[:1]:
        live.stop(session, user, reply.id)  # and the one beside it
    return redirect(request, f"/dialogues/{dialogue_id}?turn={turn_id}")


@router.post("/dialogues/{dialogue_id}/finish")
def finish(
    request: Request, session: DbSession, user: SignedIn, dialogue_id: int, typed: Annotated[TypedEnd, Field()]
) -> Response:
    """End the dialogue, with the verdict on its system prompt."""
    form = Form(kept=typed.system_kept, note=typed.note)
    turn = int(typed.turn) if typed.turn.isdecimal() and len(typed.turn) < 19 else None
    try:
        wanted = Finish.model_validate({"system_kept": typed.system_kept or None, "note": typed.note})
        service.finish(session, user, dialogue_id, wanted)
    except ValidationError as error:
        return _page(request, session, user, dialogue_id, turn, replace(form, errors=field_errors(error)), 422)
    except (BadInput, Conflict) as error:
        return _page(request, session, user, dialogue_id, turn, _wrong(form, error), error.status)
    return redirect(request, "/dialogues", flash=_("The dialogue is finished. Thank you."))


def _wrong(form: Form, error: AppError) -> Form:
    named = error.by_field
    return replace(form, errors=named) if named else replace(form, problem=error.message)


def _page(
    request: Request,
    session: Session,
    user: User,
    dialogue_id: int,
    turn: int | None,
    form: Form | None = None,
    status: int = 200,
) -> HTMLResponse:
    found = queries.access(session, user, dialogue_id)
    page = dialogue_page(session, user, found, turn, form)
    return render(request, "dialogues/dialogue.html", page, status=status)
