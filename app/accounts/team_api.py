"""JSON of teams, for admins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.access import ApiAdmin, api_admin
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.teams import NamedJson
from app.kernel.db import DbSession
from app.kernel.numbers import Whole

router = APIRouter(tags=["people"])

People = Annotated[list[Whole], Field(max_length=1000, examples=[[7, 9]])]


class TeamJson(BaseModel):
    """A team: the people in it, and the batches that are assigned to it."""

    id: int = Field(examples=[3])
    name: str = Field(examples=["Night shift"])
    members: list[NamedJson]
    batches: list[NamedJson]


class TeamList(BaseModel):
    """All teams, by name."""

    teams: list[TeamJson]


class TeamIn(BaseModel):
    """A new team."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Night shift", "people": [7]}]})

    name: str = Field(max_length=200)
    people: People = []


class TeamName(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "Day shift"}]})

    name: str = Field(max_length=200)


class MembersIn(BaseModel):
    """Who is added to a team and who is taken out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"add": [7, 9], "remove": [4]}]})

    add: People = []
    remove: People = []


@router.get("/teams", dependencies=[Depends(api_admin)])
def list_teams(session: DbSession) -> TeamList:
    """Teams, by name, with the people in them."""
    return TeamList(teams=[_json(each) for each in teams.listed(session)])


@router.post("/teams", status_code=201, response_model=TeamJson, dependencies=[TAKES_KEY])
def create_team(request: Request, session: DbSession, user: ApiAdmin, form: TeamIn) -> Response:
    """Make a team."""

    def work() -> TeamJson:
        return _one(session, teams.create(session, user, form.name, form.people).id)

    return once(session, user, request, form.model_dump_json().encode(), work, status=201)


@router.get("/teams/{team_id:int}")
def get_team(session: DbSession, user: ApiAdmin, team_id: int) -> TeamJson:
    """One team."""
    return _one(session, teams.access_team(session, user, team_id).id)


@router.patch("/teams/{team_id:int}", response_model=TeamJson, dependencies=[TAKES_KEY])
def rename_team(request: Request, session: DbSession, user: ApiAdmin, team_id: int, form: TeamName) -> Response:
    """Give a team another name."""
    found = teams.access_team(session, user, team_id)
    work = _then(session, team_id, lambda: teams.rename(session, user, found, form.name))
    return once(session, user, request, form.model_dump_json().encode(), work)


@router.post("/teams/{team_id:int}/members", response_model=TeamJson, dependencies=[TAKES_KEY])
def change_members(request: Request, session: DbSession, user: ApiAdmin, team_id: int, form: MembersIn) -> Response:
    """Add people and take people out. Whoever is in it already stays, and items that somebody has begun stay theirs."""
    found = teams.access_team(session, user, team_id)
    work = _then(session, team_id, lambda: teams.change(session, user, found, add=form.add, remove=form.remove))
    return once(session, user, request, form.model_dump_json().encode(), work)


@router.delete("/teams/{team_id:int}", response_model=TeamJson, dependencies=[TAKES_KEY])
def delete_team(request: Request, session: DbSession, user: ApiAdmin, team_id: int) -> Response:
    """Delete a team; the answer is the team as it was.

    Its batches stay restricted: where nobody else is assigned, nobody gets items until somebody is, or everybody may again.
    """
    found = teams.access_team(session, user, team_id)

    def work() -> TeamJson:
        before = _one(session, team_id)
        teams.remove(session, user, found)
        return before

    return once(session, user, request, b"", work)


def _then(session: Session, team_id: int, act: Callable[[], object]) -> Callable[[], TeamJson]:
    def work() -> TeamJson:
        act()
        return _one(session, team_id)

    return work


def _one(session: Session, team_id: int) -> TeamJson:
    return _json(teams.listed(session, team_id)[0])


def _json(team: teams.Listed) -> TeamJson:
    return TeamJson(
        id=team.id,
        name=team.name,
        members=[NamedJson(id=each.id, name=each.name) for each in team.members],
        batches=[NamedJson(id=key, name=name) for key, name in team.assigned],
    )
