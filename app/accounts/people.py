"""HTML of accounts, for admins: who is here, inviting, roles, closing accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from app.accounts import provided, queries, second_step, service
from app.accounts.access import NOT_YOURS, Admin, admin, confirmed
from app.accounts.forms import AskedAgainForm, InviteForm, RoleForm
from app.accounts.models import Invite, Role, User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.shell.web import public_url, redirect, render

router = APIRouter(prefix="/users", dependencies=[Depends(admin)])


@dataclass(frozen=True)
class PeoplePage:
    """Context of ``people.html``. ``link`` is that of an invite made by this very request."""

    people: Sequence[User]
    invites: Sequence[Invite]
    with_step: frozenset[int]
    """The ids of those who have a second step."""
    connected: frozenset[int]
    """And of those who are connected to the identity provider."""
    roles: tuple[Role, ...] = (Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN)
    invite_days: int = service.INVITE_DAYS
    link: str | None = None
    chosen: Role = Role.ANNOTATOR
    email: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RolePage:
    """Context of ``role.html``, which asks for the admin's password before somebody gets another role."""

    person: User
    chosen: Role
    error: str | None


@dataclass(frozen=True)
class ResetPage:
    """Context of ``step_reset.html``, which asks for the admin's password before a second step is reset."""

    person: User
    error: str | None


def _page(session: DbSession, **values: Any) -> PeoplePage:
    return PeoplePage(
        queries.people(session),
        queries.open_invites(session),
        second_step.people_with(session),
        provided.people_with(session),
        **values,
    )


@router.get("")
def people(request: Request, session: DbSession) -> Response:
    """Everyone, and the invites that are still open."""
    return render(request, "accounts/people.html", _page(session))


@router.post("/invites")
def invite(request: Request, session: DbSession, user: Admin, form: Annotated[InviteForm, Form()]) -> Response:
    """Make an invite. The answer is the page itself, because the link is shown this once."""
    errors: dict[str, str] = {}
    secret = ""
    if not confirmed(request, session, user, form.password):
        errors = {"password": NOT_YOURS}
    else:
        try:
            secret = service.create_invite(session, role=form.role, created_by=user, email=form.email or None)
        except BadInput as error:
            errors = {"email": error.message}
    if errors:
        page = _page(session, chosen=form.role, email=form.email, errors=errors)
        return render(request, "accounts/people.html", page, status=422)
    link = f"{public_url(request)}/invite/{secret}"
    return render(request, "accounts/people.html", _page(session, link=link))


@router.post("/invites/{invite_id}/withdraw")
def withdraw_invite(request: Request, session: DbSession, user: Admin, invite_id: int) -> Response:
    """End an invite that nobody has used."""
    service.withdraw_invite(session, user, invite_id)
    return redirect(request, "/users", flash="The invite was withdrawn; its link no longer works.")


@router.post("/{user_id}/role")
def set_role(
    request: Request, session: DbSession, user: Admin, user_id: int, form: Annotated[RoleForm, Form()]
) -> Response:
    """Give somebody another role, once the admin has given their own password: without one the answer asks for it."""
    person = queries.access_user(session, user, user_id)
    if form.password is None or not confirmed(request, session, user, form.password):
        page = RolePage(person, form.role, None if form.password is None else NOT_YOURS)
        return render(request, "accounts/role.html", page, status=422)
    service.set_role(session, user, person, form.role)
    return redirect(request, "/users", flash=f"{person.name} is now {form.role.value}.")


@router.post("/{user_id}/disable")
def disable(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """Close an account."""
    person = queries.access_user(session, user, user_id)
    service.disable(session, user, person)
    return redirect(
        request,
        "/users",
        flash=f"{person.name} can no longer sign in. Their work stays and counts on; “Retract…” takes it out.",
    )


@router.post("/{user_id}/enable")
def enable(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """Open a closed account again."""
    person = queries.access_user(session, user, user_id)
    service.enable(session, user, person)
    return redirect(request, "/users", flash=f"{person.name} can sign in again.")


@router.post("/{user_id}/sign-out")
def sign_out(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """End all sessions of somebody."""
    person = queries.access_user(session, user, user_id)
    ended = service.revoke_sessions(session, person, actor=user)
    return redirect(
        request, "/users", flash=f"{person.name} is signed out of {ended} browser{'' if ended == 1 else 's'}."
    )


@router.post("/{user_id}/second-step/reset")
def reset_step(
    request: Request, session: DbSession, user: Admin, user_id: int, form: Annotated[AskedAgainForm, Form()]
) -> Response:
    """Turn off the second step of somebody who lost it, once the admin has given their own password."""
    person = queries.access_user(session, user, user_id)
    if form.password is None or not confirmed(request, session, user, form.password):
        page = ResetPage(person, None if form.password is None else NOT_YOURS)
        return render(request, "accounts/step_reset.html", page, status=422)
    second_step.reset(session, user, person)
    return redirect(request, "/users", flash=f"{person.name} signs in by password alone, and is signed out everywhere.")
