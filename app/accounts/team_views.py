"""HTML of teams, for admins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts import queries, teams
from app.accounts.access import Admin, admin
from app.accounts.forms import MembersForm, NameForm
from app.accounts.models import Team, User
from app.accounts.teams import NAME_LIMIT, Listed
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.shell.web import redirect, render

router = APIRouter(prefix="/teams", dependencies=[Depends(admin)])


@dataclass(frozen=True, kw_only=True)
class TeamsPage:
    """Context of ``accounts/teams.html``."""

    teams: Sequence[Listed]
    name: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    name_limit: int = NAME_LIMIT


@dataclass(frozen=True, kw_only=True)
class TeamPage:
    """Context of ``accounts/team.html``."""

    team: Listed
    members: Sequence[tuple[int, str]]
    """Who is in it and could be taken out: id, and name with address."""
    others: Sequence[tuple[int, str]]
    """Who could be added."""
    ticked: Sequence[int] = ()
    name: str
    addresses: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    name_limit: int = NAME_LIMIT


@router.get("")
def all_teams(request: Request, session: DbSession) -> HTMLResponse:
    """The teams, and a form for another."""
    return render(request, "accounts/teams.html", TeamsPage(teams=teams.listed(session)))


@router.post("")
def create(request: Request, session: DbSession, user: Admin, form: Annotated[NameForm, Form()]) -> Response:
    """Make a team; who is in it is said on its page."""
    try:
        made = teams.create(session, user, form.name)
    except BadInput as error:
        page = TeamsPage(teams=teams.listed(session), name=form.name, errors=error.by_field)
        return render(request, "accounts/teams.html", page, status=422)
    return redirect(request, f"/teams/{made.id}", flash=_("“{name}” is made. Add people to it.", name=made.name))


@router.get("/{team_id}")
def team(request: Request, session: DbSession, user: Admin, team_id: int) -> HTMLResponse:
    """Who is in a team, and what is assigned to it."""
    return _page(request, session, teams.access_team(session, user, team_id))


@router.post("/{team_id}")
def rename(
    request: Request, session: DbSession, user: Admin, team_id: int, form: Annotated[NameForm, Form()]
) -> Response:
    """Give it another name."""
    found = teams.access_team(session, user, team_id)
    try:
        teams.rename(session, user, found, form.name)
    except BadInput as error:
        return _page(request, session, found, name=form.name, errors=error.by_field)
    return redirect(request, f"/teams/{found.id}", flash=_("Name saved."))


@router.post("/{team_id}/add")
def add(
    request: Request, session: DbSession, user: Admin, team_id: int, form: Annotated[MembersForm, Form()]
) -> Response:
    """Add the people that are ticked, and those whose addresses are given; all of them or nobody."""
    found = teams.access_team(session, user, team_id)
    try:
        added, _none = teams.change(session, user, found, add=[*form.people, *teams.people_at(session, form.addresses)])
    except BadInput as error:
        return _page(request, session, found, addresses=form.addresses, ticked=form.people, errors=error.by_field)
    return redirect(request, f"/teams/{found.id}", flash=ngettext("{n} person added.", "{n} people added.", added))


@router.post("/{team_id}/remove")
def take_out(
    request: Request, session: DbSession, user: Admin, team_id: int, form: Annotated[MembersForm, Form()]
) -> Response:
    """Take the people out that are ticked, or whose addresses are given."""
    found = teams.access_team(session, user, team_id)
    try:
        gone = [*form.people, *teams.people_at(session, form.addresses)]
    except BadInput as error:
        return _page(request, session, found, addresses=form.addresses, errors=error.by_field)
    _none, removed = teams.change(session, user, found, remove=gone)
    said = ngettext(
        "{n} person taken out. What they have begun stays with them.",
        "{n} people taken out. What they have begun stays with them.",
        removed,
    )
    return redirect(request, f"/teams/{found.id}", flash=said)


@router.post("/{team_id}/delete")
def delete(request: Request, session: DbSession, user: Admin, team_id: int) -> Response:
    """Delete it, and say what was assigned to it."""
    found = teams.access_team(session, user, team_id)
    name, assigned = found.name, teams.remove(session, user, found)
    said = _("The team “{name}” is deleted.", name=name)
    return redirect(request, "/teams", flash=f"{said} {_was_assigned(assigned)}".rstrip())


def _was_assigned(assigned: Sequence[teams.Assigned]) -> str:
    batches, more = ", ".join(f"“{batch}”" for _id, batch in assigned[: teams.SHOWN]), len(assigned) - teams.SHOWN
    if more > 0:
        return ngettext(
            "It was assigned to {batches} and {n} more: check there who gets the items now.",
            "It was assigned to {batches} and {n} more: check there who gets the items now.",
            more,
            batches=batches,
        )
    if not assigned:
        return ""
    return _("It was assigned to {batches}: check there who gets the items now.", batches=batches)


def _shown(people: Sequence[User]) -> list[tuple[int, str]]:
    """Two people may have one name."""
    off = _("(disabled)")
    return [(each.id, f"{each.name}, {each.email}{f' {off}' if each.disabled_at else ''}") for each in people]


def _page(request: Request, session: DbSession, found: Team, **more: Any) -> HTMLResponse:
    listed = teams.listed(session, found.id)[0]
    inside = {each.id for each in listed.members}
    others = [each for each in queries.people(session) if each.disabled_at is None and each.id not in inside]
    shown = {"members": _shown(listed.members), "others": _shown(others), "name": listed.name}
    page = TeamPage(team=listed, **shown | more)
    return render(request, "accounts/team.html", page, status=422 if page.errors else 200)
