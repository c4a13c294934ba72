"""Whom a batch is assigned to, and who may not judge it. Nothing here commits.

What a claim makes of it stands in :mod:`app.comparisons.given`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import delete, func, literal, select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import Team, User
from app.accounts.service import audit
from app.comparisons.given import annotators_of
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.prompts.forms import ASSIGNEES, BatchSettings
from app.prompts.models import Batch, BatchPerson, BatchTeam
from app.prompts.service import create_batch

Named = tuple[int, str]
"""Id and name."""


@dataclass(frozen=True)
class Assigned:
    """Whom a batch is assigned to, by name: to everybody where no team and nobody is named, unless it is ``restricted``."""

    restricted: bool
    teams: list[Named] = field(default_factory=list)
    people: list[Named] = field(default_factory=list)
    barred: list[Named] = field(default_factory=list)
    """Who may not judge it, whatever their teams."""

    @property
    def to_nobody(self) -> bool:
        """Whether nobody gets its items: whoever it was assigned to is gone."""
        return self.restricted and not self.teams and not self.people

    def ids(self) -> dict[str, list[int]]:
        """The same as ids, as settings name them."""
        return {name: sorted(key for key, _ in getattr(self, name)) for name in ASSIGNEES}


def of_batches(session: Session, batches: Collection[Batch], *, by_name: bool = True) -> dict[int, Assigned]:
    """Whom each is assigned to; people by their pseudonyms where not ``by_name``.

    Reviewers know no names: of a batch that is assigned to one person alone, all that was said would have one.
    """
    called = User.name if by_name else User.pseudonym
    found = {batch.id: Assigned(batch.assigned_only) for batch in batches}
    of_teams = select(BatchTeam.batch_id, Team.id, Team.name).join(Team, Team.id == BatchTeam.team_id)
    rows = session.execute(of_teams.where(BatchTeam.batch_id.in_(found)).order_by(func.lower(Team.name), Team.id))
    for batch_id, key, name in rows:
        found[batch_id].teams.append((key, name))
    of_people = select(BatchPerson.batch_id, BatchPerson.barred, User.id, called).join(User)
    named = session.execute(of_people.where(BatchPerson.batch_id.in_(found)).order_by(func.lower(called), User.id))
    for batch_id, barred, key, name in named:
        (found[batch_id].barred if barred else found[batch_id].people).append((key, name))
    return found


def of_batch(session: Session, batch: Batch, *, by_name: bool = True) -> Assigned:
    """Whom one is assigned to."""
    return of_batches(session, [batch], by_name=by_name)[batch.id]


def assign(session: Session, actor: User, batch: Batch, wanted: Mapping[str, Collection[int] | None]) -> bool:
    """Take over what ``wanted`` names of ``teams``, ``people`` and ``barred``, by id, and say whether that changed anything.

    With no team and nobody left, everybody gets its items. Who has begun one keeps it, whatever changes. The values before
    stay in the audit trail. The caller holds a lock on the batch.

    Raises:
        BadInput: a team or person is not known, or somebody is both assigned and barred.
    """
    before = of_batch(session, batch).ids()
    after = before | {name: sorted(set(ids)) for name, ids in wanted.items() if ids is not None}
    both = set(after["people"]) & set(after["barred"])
    if both:
        person = session.get(User, min(both))
        raise refused(
            "barred",
            _(
                "{name} cannot be assigned and barred at once: take them out of one of the lists.",
                name=person.name if person else min(both),
            ),
        )
    restricted = bool(after["teams"] or after["people"])
    asks = any(ids is not None for name, ids in wanted.items() if name != "barred")
    restricted = restricted if asks else batch.assigned_only
    if (after, restricted) == (before, batch.assigned_only):
        return False
    _check(session, Team, "teams", set(after["teams"]) - set(before["teams"]))
    for name in ("people", "barred"):
        _check(session, User, name, set(after[name]) - set(before[name]))
    session.execute(delete(BatchTeam).where(BatchTeam.batch_id == batch.id))
    session.execute(delete(BatchPerson).where(BatchPerson.batch_id == batch.id))
    session.add_all(BatchTeam(batch_id=batch.id, team_id=each) for each in after["teams"])
    session.add_all(BatchPerson(batch_id=batch.id, user_id=each, barred=False) for each in after["people"])
    session.add_all(BatchPerson(batch_id=batch.id, user_id=each, barred=True) for each in after["barred"])
    batch.assigned_only = restricted
    audit(session, actor, "batch.assign", "batch", batch.id, before=before, after=after)
    session.flush()
    return True


def reached(session: Session, batch: Batch) -> int:
    """How many annotators a batch reaches."""
    return session.scalar(select(func.count()).select_from(annotators_of(literal(batch.id)).subquery())) or 0


def tried(session: Session, user: User, settings: BatchSettings) -> tuple[Assigned, int]:
    """Whom a batch with these settings would be assigned to, and how many annotators that reaches. Nothing is kept.

    Raises:
        BadInput: as :func:`assign`.
    """
    with session.begin_nested() as trial:
        batch = create_batch(session, user, settings.model_copy(update={"name": secrets.token_hex(16)}), None)
        assign(session, user, batch, {name: getattr(settings, name) for name in ASSIGNEES})
        found = of_batch(session, batch), reached(session, batch)
        trial.rollback()
    return found


def check_quota(quota: object, qualification_items: object) -> None:
    """Refuse a quota that the qualification alone would use up: its items count, as all items of a batch do."""
    if isinstance(quota, int) and isinstance(qualification_items, int) and quota <= qualification_items:
        raise refused(
            "quota",
            _(
                "Qualifying takes {n} items, which count: allow more than that, or leave it empty.",
                n=qualification_items,
            ),
        )


def _check(session: Session, kind: type[Team | User], name: str, ids: Collection[int]) -> None:
    """Refuse an id that nothing has, and hold what has one: a team that is deleted at this moment is not assigned."""
    known = set(session.scalars(select(kind.id).where(kind.id.in_(ids)).with_for_update(read=True, key_share=True)))
    unknown = sorted(set(ids) - known)
    if unknown:
        why = (
            _("There is no team with the number {n}: reload the page and choose again.", n=unknown[0])
            if kind is Team
            else _("There is nobody with the number {n}: reload the page and choose again.", n=unknown[0])
        )
        raise refused(name, why)


def _of_teams(session: Session, team_ids: Collection[int]) -> dict[int, list[Named]]:
    rows = session.execute(
        select(BatchTeam.team_id, Batch.id, Batch.name)
        .join(Batch, Batch.id == BatchTeam.batch_id)
        .where(BatchTeam.team_id.in_(team_ids))
        .order_by(Batch.id)
    )
    found: dict[int, list[Named]] = {}
    for team_id, key, name in rows:
        found.setdefault(team_id, []).append((key, name))
    return found


teams.ASSIGNED.append(_of_teams)
