"""Teams: people whom batches are assigned to together. Nothing here commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import inviting, service
from app.accounts.models import Role, Team, TeamMember, User
from app.accounts.service import audit
from app.kernel.errors import BadInput, NotFound, refused
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn

NAME_LIMIT = 60
SHOWN = 5

Assigned = tuple[int, str]
"""Id and name of something that is assigned to a team."""
ASSIGNED: list[Callable[[Session, Collection[int]], Mapping[int, Sequence[Assigned]]]] = []
"""What rooms above assign to teams, by the id of each: they say it when they are imported."""


class NamedJson(BaseModel):
    """A team, a person or a batch, by its id and name."""

    id: int = Field(examples=[3])
    name: str = Field(examples=["Night shift"])


@dataclass(frozen=True)
class Listed:
    """A team with the people in it, by name, and the batches that are assigned to it."""

    id: int
    name: str
    members: list[User]
    assigned: list[Assigned]


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def listed(session: Session, team_id: int | None = None) -> list[Listed]:
    """All teams by name, or one of them."""
    query = select(Team).order_by(func.lower(Team.name), Team.id)
    found = session.scalars(query if team_id is None else query.where(Team.id == team_id)).all()
    ids = [team.id for team in found]
    members: dict[int, list[User]] = {each: [] for each in ids}
    rows = select(TeamMember.team_id, User).join(User, User.id == TeamMember.user_id).where(TeamMember.team_id.in_(ids))
    for key, user in session.execute(rows.order_by(func.lower(User.name), User.id)):
        members[key].append(user)
    assigned = assigned_to(session, ids)
    return [Listed(team.id, team.name, members[team.id], assigned[team.id]) for team in found]


def assigned_to(session: Session, team_ids: Collection[int]) -> dict[int, list[Assigned]]:
    """What is assigned to each of these teams."""
    said = [each(session, team_ids) for each in ASSIGNED]
    return {key: [one for found in said for one in found.get(key, ())] for key in team_ids}


def access_team(session: Session, actor: User, team_id: int) -> Team:
    """A team, for an admin; :class:`NotFound` otherwise."""
    team = session.get(Team, team_id) if actor.role is Role.ADMIN else None
    if team is None:
        raise NotFound
    return team


def people_at(session: Session, pasted: str) -> list[int]:
    """The ids of the people whose addresses are in ``pasted``, which is read as a list of people to invite.

    Raises:
        BadInput: with each address that nobody here has, by its line.
    """
    wanted: dict[str, int] = {}
    for line, address, _role in inviting.addresses_in(pasted):
        wanted.setdefault(address.strip().lower(), line)
    rows = session.execute(select(User.email, User.id).where(User.email.in_(wanted)))
    found: dict[str, int] = {email: key for email, key in rows}  # noqa: C416 - a Row is no pair to mypy
    unknown = [(line, address[:60]) for address, line in wanted.items() if address not in found]
    if unknown:
        listed = [_("line {line}: {address}", line=line, address=address) for line, address in unknown]
        said = _(
            "Nobody has these addresses here: {addresses}. Correct them, or invite them first.",
            addresses=inviting.first_of(listed),
        )
        raise refused("addresses", said)
    return [found[address] for address in wanted]


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def create(session: Session, actor: User, name: str, people: Collection[int] = ()) -> Team:
    """A new team of ``people``.

    Raises:
        BadInput: another team has the name, or somebody is not known.
    """
    cleaned = _clean_name(session, name)
    team = Team(name=cleaned, created_by_id=actor.id)
    session.add(team)
    session.flush()
    audit(session, actor, "team.create", "team", team.id, name=cleaned)
    change(session, actor, team, add=people)
    return team


def rename(session: Session, actor: User, team: Team, name: str) -> None:
    """Give ``team`` another name; :class:`BadInput` where another team has it."""
    cleaned = _clean_name(session, name, but=team.id)
    if cleaned != team.name:
        audit(session, actor, "team.rename", "team", team.id, before=team.name, after=cleaned)
        team.name = cleaned
        session.flush()


def change(
    session: Session, actor: User, team: Team, *, add: Collection[int] = (), remove: Collection[int] = ()
) -> tuple[int, int]:
    """Add people and take people out; how many were not in it, and how many were. Who has begun something keeps it.

    Raises:
        BadInput: somebody is not known, or is added and taken out at once.
    """
    _check_known(session, add, remove)
    session.refresh(team, with_for_update=True)
    added: list[int] = []
    if add:
        rows = [{"team_id": team.id, "user_id": each} for each in sorted(set(add))]
        new = insert(TeamMember).values(rows).on_conflict_do_nothing().returning(TeamMember.user_id)
        added = sorted(session.scalars(new))
    gone = delete(TeamMember).where(TeamMember.team_id == team.id, TeamMember.user_id.in_(remove))
    removed = sorted(session.scalars(gone.returning(TeamMember.user_id)))
    if added or removed:
        audit(session, actor, "team.members", "team", team.id, name=team.name, added=added, removed=removed)
    return len(added), len(removed)


def remove(session: Session, actor: User, team: Team) -> list[Assigned]:
    """Delete ``team``; what was assigned to it. Nothing else goes: its people stay, and so does what they judged."""
    session.refresh(team, with_for_update=True)
    assigned = assigned_to(session, [team.id])[team.id]
    audit(session, actor, "team.delete", "team", team.id, name=team.name, batches=[key for key, _ in assigned])
    session.execute(delete(TeamMember).where(TeamMember.team_id == team.id))
    session.delete(team)
    session.flush()
    return assigned


def _clean_name(session: Session, name: str, but: int | None = None) -> str:
    cleaned = service.clean_name(name)
    if len(cleaned) > NAME_LIMIT:
        raise refused("name", _("A team's name has at most {most} characters.", most=NAME_LIMIT))
    wait_for_turn(session, "teams.name")
    taken = select(Team.id).where(func.lower(Team.name) == cleaned.lower(), Team.id != (but or 0))
    if session.scalar(taken) is not None:
        raise refused("name", _("There is a team “{name}” already: choose another name.", name=cleaned))
    return cleaned


def _check_known(session: Session, add: Collection[int], remove: Collection[int]) -> None:
    both = sorted(set(add) & set(remove))
    if both:
        beside = _("also in remove: {number}", number=both[0])
        raise BadInput(_("Nobody can be added and taken out at once."), errors=[{"loc": "add", "msg": beside}])
    known = set(session.scalars(select(User.id).where(User.id.in_(add))))
    unknown = sorted(set(add) - known)
    if unknown:
        raise refused("add", _("There is nobody with the number {number}.", number=unknown[0]))
