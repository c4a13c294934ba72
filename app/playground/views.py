"""HTML of the playground: ask two models at once, watch them, and see which is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from app.accounts.access import Admin
from app.accounts.models import User
from app.candidates import live
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict, NotFound, TooMany, Unavailable
from app.playground import service
from app.playground.forms import Ask
from app.playground.pages import playground_page
from app.prompts.forms import field_errors
from app.shell.web import redirect, render

router = APIRouter()


class Typed(BaseModel):
    """The form as a browser sends it; what is wrong with it is said beside its fields."""

    model_config = ConfigDict(extra="forbid")

    message: str = ""
    system: str = ""
    beside: str = ""
    blind: str = ""
    after: str = ""
    answer: str = ""
    key: str = ""


@router.get("/playground")
def playground(request: Request, session: DbSession, user: Admin) -> HTMLResponse:
    """The form, and what was asked lately."""
    return render(request, "playground/playground.html", playground_page(session, user))


@router.post("/playground")
def ask(request: Request, session: DbSession, user: Admin, typed: Annotated[Typed, Form()]) -> Response:
    """Ask both, and watch them."""
    values = typed.model_dump()
    try:
        wanted = Ask.model_validate(values | {"blind": typed.blind == "true"})
        made = service.ask(session, user, wanted)
    except ValidationError as error:
        return _again(request, session, user, values, errors=field_errors(error))
    except (BadInput, Conflict, TooMany, Unavailable) as error:
        named = error.by_field
        problem = None if named else error.message
        return _again(request, session, user, values, errors=named, problem=problem, status=error.status)
    return redirect(request, f"/playground/{made.id}")


@router.get("/playground/{trial_id}")
def trial(request: Request, session: DbSession, user: Admin, trial_id: int) -> HTMLResponse:
    """A trial of one's own: as it is written, or as it ended."""
    page = playground_page(session, user, service.access(session, user, trial_id))
    return render(request, "playground/playground.html", page)


@router.post("/playground/{trial_id}/reveal")
def reveal(request: Request, session: DbSession, user: Admin, trial_id: int) -> Response:
    """Say who wrote which."""
    try:
        service.reveal(session, user, trial_id)
    except Conflict as error:
        return redirect(request, f"/playground/{trial_id}", flash=error.message)
    return redirect(request, f"/playground/{trial_id}")


@router.post("/playground/{trial_id}/stop")
def stop(request: Request, session: DbSession, user: Admin, trial_id: int) -> Response:
    """Stop both answers; what has come stays."""
    live.stop(session, user, service.access(session, user, trial_id).left_id)
    return redirect(request, f"/playground/{trial_id}")


def _again(
    request: Request,
    session: Session,
    user: User,
    values: Mapping[str, str],
    *,
    errors: Mapping[str, str],
    problem: str | None = None,
    status: int = 422,
) -> HTMLResponse:
    """The form with what was typed, under the trial that it follows."""
    after = values["after"]
    try:
        before = service.access(session, user, int(after)) if after.isdecimal() and len(after) < 19 else None
    except NotFound:
        before = None
    page = playground_page(session, user, before, values=values, errors=errors, problem=problem)
    return render(request, "playground/playground.html", page, status=status)
