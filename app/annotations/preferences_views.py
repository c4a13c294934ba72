"""HTML of what a person sets for the judging page: how responses are shown, and its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import update

from app.accounts.access import SignedIn
from app.accounts.models import User
from app.annotations import keys
from app.annotations.display import DisplayForm
from app.annotations.keys import Action, Fixed
from app.annotations.work_form import LongTexts
from app.judgements.judgement import TEXT_LIMIT
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.shell.web import redirect, render

router = APIRouter(route_class=LongTexts)


class KeysForm(BaseModel):
    """The key of every action, by the action's name."""

    model_config = ConfigDict(extra="allow", frozen=True, str_max_length=20)


@dataclass(frozen=True)
class KeysPage:
    """Context of ``annotations/keys.html``."""

    actions: Sequence[Action]
    chosen: Mapping[str, str]
    fixed: Sequence[Fixed]
    errors: dict[str, str] = field(default_factory=dict)


@router.post("/preferences/display")
def set_display(session: DbSession, user: SignedIn, form: Annotated[DisplayForm, Form()]) -> Response:
    """Remember how responses are shown. Scripts ask, and need no answer."""
    # in the database, so that two at once do not undo each other
    changed = User.preferences.concat(form.changed())
    session.execute(update(User).where(User.id == user.id).values(preferences=changed))
    return Response(status_code=204)


@router.post("/preview")
def preview(user: SignedIn, text: Annotated[str, Form(max_length=TEXT_LIMIT)] = "") -> Response:  # noqa: ARG001 - only for those who are signed in
    """An improved text as readers will see it: the same Markdown, made safe in the same way."""
    return HTMLResponse(to_html(text), headers={"cache-control": "no-store"})


@router.get("/profile/keys")
def show_keys(request: Request, user: SignedIn) -> Response:
    """The keys of the judging page, to be changed."""
    page = KeysPage(keys.ACTIONS, keys.keymap(user.preferences), keys.FIXED)
    return render(request, "annotations/keys.html", page)


@router.post("/profile/keys")
def set_keys(request: Request, session: DbSession, user: SignedIn, form: Annotated[KeysForm, Form()]) -> Response:
    """Take other keys, all or none of them."""
    chosen = {name: str(value) for name, value in (form.model_extra or {}).items()}
    keys.known(chosen)
    try:
        own = keys.changes(chosen)
    except BadInput as error:
        errors = {each["loc"]: each["msg"] for each in error.extra["errors"]}
        shown = {action.name: chosen.get(action.name, "") for action in keys.ACTIONS}
        page = KeysPage(keys.ACTIONS, shown, keys.FIXED, errors)
        return render(request, "annotations/keys.html", page, status=422)
    user.preferences = {**user.preferences, "keys": own}
    session.flush()
    return redirect(request, "/profile/keys", flash=_("Keyboard shortcuts saved."))


@router.post("/profile/keys/reset")
def reset_keys(request: Request, session: DbSession, user: SignedIn, form: Annotated[KeysForm, Form()]) -> Response:
    """Go back to the keys that everybody starts with. The button sends the table with it, which is not looked at."""
    keys.known(form.model_extra or {})
    user.preferences = {name: value for name, value in user.preferences.items() if name != "keys"}
    session.flush()
    return redirect(request, "/profile/keys", flash=_("Keyboard shortcuts reset to the defaults."))
