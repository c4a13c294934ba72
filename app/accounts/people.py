"""HTML of accounts, for admins: who is here, inviting, roles, closing accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from app.accounts import inviting, provided, queries, second_step, service
from app.accounts.access import NOT_YOURS, Admin, admin, confirmed
from app.accounts.forms import AskedAgainForm, InviteForm, RoleForm
from app.accounts.models import Invite, Role, User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, refused
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.shell.web import public_url, redirect, render

router = APIRouter(prefix="/users", dependencies=[Depends(admin)])


@dataclass(frozen=True)
class PeoplePage:
    """Context of ``people.html``. ``links`` are those of invites made by this very request, and ``present`` who needed none."""

    people: Sequence[User]
    invites: Sequence[Invite]
    mails: bool
    with_step: frozenset[int]
    """The ids of those who have a second step."""
    connected: frozenset[int]
    """And of those who are connected to the identity provider."""
    roles: tuple[Role, ...] = (Role.ANNOTATOR, Role.REVIEWER, Role.ADMIN)
    invite_days: int = service.INVITE_DAYS
    most: int = inviting.AT_ONCE
    links: Sequence[tuple[str | None, Role, str]] = ()
    present: Sequence[str] = ()
    mailed: int = 0
    chosen: Role = Role.ANNOTATOR
    addresses: str = ""
    mail: bool = True
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
        inviting.mails(),
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
    """Make invites. The answer is the page itself, because links are shown this once."""
    try:
        if not confirmed(request, session, user, form.password):
            raise refused("password", _(NOT_YOURS))
        made, present = _invite(session, user, form)
    except BadInput as error:
        page = _page(session, chosen=form.role, addresses=form.addresses, mail=form.mail, errors=error.by_field)
        return render(request, "accounts/people.html", page, status=422)
    at = public_url(request)
    links = [(email, role, f"{at}/invite/{secret}") for email, role, secret in made if secret]
    page = _page(session, links=links, present=present, mailed=len(made) - len(links))
    return render(request, "accounts/people.html", page)


def _invite(
    session: DbSession, user: User, form: InviteForm
) -> tuple[list[tuple[str | None, Role, str | None]], list[str]]:
    if not form.addresses.strip():
        return [(None, form.role, service.create_invite(session, role=form.role, created_by=user))], []
    outcome = inviting.invite_all(session, user, inviting.guests(form.addresses, form.role), mail=form.mail)
    return [(each.email, each.role, each.secret) for each in outcome.invited], outcome.present


@router.post("/invites/{invite_id}/mail")
def mail_invite(request: Request, session: DbSession, user: Admin, invite_id: int) -> Response:
    """Mail a new link for an open invite."""
    invite = inviting.mail_again(session, user, invite_id)
    return redirect(
        request,
        "/users",
        flash=_("A new link is on its way to {email}; the earlier one has ended.", email=invite.email),
    )


@router.post("/invites/{invite_id}/withdraw")
def withdraw_invite(request: Request, session: DbSession, user: Admin, invite_id: int) -> Response:
    """End an invite that nobody has used."""
    service.withdraw_invite(session, user, invite_id)
    return redirect(request, "/users", flash=_("The invite was withdrawn; its link no longer works."))


@router.post("/{user_id}/role")
def set_role(
    request: Request, session: DbSession, user: Admin, user_id: int, form: Annotated[RoleForm, Form()]
) -> Response:
    """Give somebody another role, once the admin has given their own password: without one the answer asks for it."""
    person = queries.access_user(session, user, user_id)
    if form.password is None or not confirmed(request, session, user, form.password):
        page = RolePage(person, form.role, None if form.password is None else _(NOT_YOURS))
        return render(request, "accounts/role.html", page, status=422)
    service.set_role(session, user, person, form.role)
    return redirect(request, "/users", flash=_("{name} is now {role}.", name=person.name, role=form.role.label))


@router.post("/{user_id}/disable")
def disable(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """Close an account."""
    person = queries.access_user(session, user, user_id)
    service.disable(session, user, person)
    return redirect(
        request,
        "/users",
        flash=_(
            "{name} can no longer sign in. Their work stays and counts on; “Retract…” takes it out.", name=person.name
        ),
    )


@router.post("/{user_id}/enable")
def enable(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """Open a closed account again."""
    person = queries.access_user(session, user, user_id)
    service.enable(session, user, person)
    return redirect(request, "/users", flash=_("{name} can sign in again.", name=person.name))


@router.post("/{user_id}/sign-out")
def sign_out(request: Request, session: DbSession, user: Admin, user_id: int) -> Response:
    """End all sessions of somebody."""
    person = queries.access_user(session, user, user_id)
    ended = service.revoke_sessions(session, person, actor=user)
    said = ngettext(
        "{name} is signed out of {n} browser.", "{name} is signed out of {n} browsers.", ended, name=person.name
    )
    return redirect(request, "/users", flash=said)


@router.post("/{user_id}/second-step/reset")
def reset_step(
    request: Request, session: DbSession, user: Admin, user_id: int, form: Annotated[AskedAgainForm, Form()]
) -> Response:
    """Turn off the second step of somebody who lost it, once the admin has given their own password."""
    person = queries.access_user(session, user, user_id)
    if form.password is None or not confirmed(request, session, user, form.password):
        page = ResetPage(person, None if form.password is None else _(NOT_YOURS))
        return render(request, "accounts/step_reset.html", page, status=422)
    second_step.reset(session, user, person)
    return redirect(
        request, "/users", flash=_("{name} signs in by password alone, and is signed out everywhere.", name=person.name)
    )
