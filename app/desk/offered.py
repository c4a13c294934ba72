"""What the desk offers to choose from: filters, and whom items can be assigned to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.accounts.models import Role, Team, User
from app.desk.queries import Failed, Reviewed, Sort
from app.judgements.vocabulary import STRONGEST_FIRST, Flag, Outcome
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.loops.models import Round
from app.prompts.models import Batch
from training.formats.languages import NAMES

OFFERED = 200
"""Batches, rounds and people offered to filter by."""
ASSIGNEES = 1_000
"""People offered to assign items to."""
Options = Sequence[tuple[object, str]]
SORTS = {
    Sort.NEWEST: N_("Newest first"),
    Sort.OLDEST: N_("Oldest first"),
    Sort.QUICKEST: N_("Quickest first"),
    Sort.SLOWEST: N_("Slowest first"),
}
REVIEWED = {
    Reviewed.NOBODY: N_("Not reviewed"),
    Reviewed.ACCEPTED: N_("Accepted"),
    Reviewed.RETURNED: N_("Returned"),
    Reviewed.ADJUDICATED: N_("Item settled"),
}
FAILED = {Failed.CHOSEN: N_("Of the chosen response"), Failed.EDIT: N_("Of the edit")}


@dataclass(frozen=True)
class Choices:
    """What can be filtered by."""

    batches: Sequence[tuple[int, str]]
    rounds: Options
    people: Sequence[tuple[str, str]]
    attributes: Options
    outcomes: Options
    strengths: Options
    flags: Options
    reviewed: Options
    failed: Options
    languages: Sequence[str]
    sorts: Options


@dataclass(frozen=True)
class Assignees:
    """Whom items can be assigned to, by id: people by name for those who know them by name."""

    teams: Options
    people: Options


def choices(session: Session) -> Choices:
    """Of what there is now."""
    return Choices(
        batches=batches_offered(session),
        rounds=[(each, _("Round {n}", n=each)) for each in rounds_offered(session)],
        people=people_offered(session),
        attributes=attributes_offered(session),
        outcomes=[(each.value, each.label) for each in Outcome],
        strengths=[(each.value, each.label) for each in STRONGEST_FIRST],
        flags=[(each.value, each.label) for each in Flag],
        reviewed=[(each.value, _(words)) for each, words in REVIEWED.items()],
        failed=[(each.value, _(words)) for each, words in FAILED.items()],
        languages=sorted(NAMES.values()),
        sorts=[(each.value, _(words)) for each, words in SORTS.items() if each is not Sort.NEWEST],
    )


def assignees(session: Session, reader: User) -> Assignees:
    """All teams and, but for the reader, who sees the judgements here, all people with an account."""
    called = _called(reader)
    teams = select(Team.id, Team.name).order_by(func.lower(Team.name), Team.id).limit(ASSIGNEES)
    people = select(User.id, called).where(User.disabled_at.is_(None), User.id != reader.id)
    people = people.order_by(func.lower(called), User.id).limit(ASSIGNEES)
    return Assignees(*([(key, name) for key, name in session.execute(each)] for each in (teams, people)))


def called(session: Session, reader: User, people: Collection[int], teams: Collection[int]) -> list[str]:
    """What these are called where ``reader`` chooses among them."""
    names = select(Team.name).where(Team.id.in_(teams)), select(_called(reader)).where(User.id.in_(people))
    return [name for query in names for name in session.scalars(query.order_by(literal_column("1")))]


def _called(reader: User) -> InstrumentedAttribute[str]:
    return User.name if reader.role is Role.ADMIN else User.pseudonym


def batches_offered(session: Session) -> list[tuple[int, str]]:
    """Batches to filter by, newest first."""
    query = select(Batch.id, Batch.name).order_by(Batch.id.desc()).limit(OFFERED)
    return [(row.id, row.name) for row in session.execute(query)]


def attributes_offered(session: Session) -> list[tuple[str, str]]:
    """What responses can be rated as, with their values as :class:`Wanted` takes them: ``helpful=3`` and "Helpful: High"."""
    query = select(Batch.attributes).order_by(Batch.id.desc()).limit(OFFERED)
    found: dict[str, str] = {}
    for attributes in session.scalars(query):
        for each in attributes:
            for level, words in enumerate(each["scale"], 1):
                found.setdefault(f"{each['name']}={level}", f"{each['label']}: {words}")
    return list(found.items())[:OFFERED]


def rounds_offered(session: Session) -> list[int]:
    """The numbers of the rounds, the latest first."""
    return list(session.scalars(select(Round.number).order_by(Round.number.desc()).limit(OFFERED)))


def people_offered(session: Session) -> list[tuple[str, str]]:
    """Pseudonyms and names of those with an account. The names are for admins alone."""
    query = select(User.pseudonym, User.name).where(User.disabled_at.is_(None)).order_by(User.id).limit(OFFERED)
    return [(row.pseudonym, row.name) for row in session.execute(query)]
