"""The form with which a batch is assigned: what stands in it, and what it says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.accounts.models import Team, User
from app.batches.assigning import Assigned, Named, of_batch, reached
from app.batches.queries import overdue
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.prompts.forms import ASSIGNEES, MOST_ASSIGNEES
from app.prompts.models import Batch, Priority

MINUTES = "%Y-%m-%dT%H:%M"
"""As a field for a moment writes it."""


class AssignForm(BaseModel):
    """What is posted. Teams and people are ids that were ticked."""

    model_config = ConfigDict(extra="forbid", str_max_length=100)

    teams: list[int] = Field(default=[], max_length=MOST_ASSIGNEES)
    people: list[int] = Field(default=[], max_length=MOST_ASSIGNEES)
    barred: list[int] = Field(default=[], max_length=MOST_ASSIGNEES)
    everybody: bool = False
    """Asked only where nobody gets items: whether everybody may again."""
    priority: str = Priority.NORMAL.value
    deadline: str = ""
    quota: str = ""
    readers_only: bool = False


NOBODY_YET = Assigned(restricted=False)
"""Of a batch that is being made."""


@dataclass(frozen=True, kw_only=True)
class AssignFields:
    """What the fields show: of a batch that is there, or of one that is being made."""

    now: Assigned = NOBODY_YET
    teams: Sequence[Named]
    """All that there are."""
    people: Sequence[Named]
    """All whose accounts are open, and who is named anyway."""
    chosen: Mapping[str, Sequence[int]]
    """The ids that are ticked, by field."""
    values: Mapping[str, str]
    zone: str
    """In which the deadline is typed."""
    errors: Mapping[str, str] = field(default_factory=dict)
    priorities: tuple[Priority, ...] = tuple(Priority)


@dataclass(frozen=True, kw_only=True)
class AssignSection(AssignFields):
    """What the section of a batch's page shows."""

    overdue: bool
    annotators: int
    """How many annotators that reaches; an item waits for as many as the batch asks for."""


def section(
    session: Session,
    batch: Batch,
    zone: tzinfo | None,
    *,
    by_name: bool,
    sent: AssignForm | None = None,
    errors: Mapping[str, str] | None = None,
) -> AssignSection:
    """The section as it stands; with what was sent and what is wrong with it."""
    now = of_batch(session, batch, by_name=by_name)
    named = [key for key, _ in (*now.people, *now.barred)]
    deadline = batch.deadline.astimezone(zone or UTC).strftime(MINUTES) if batch.deadline else ""
    stored = {"priority": batch.priority.value, "deadline": deadline, "quota": str(batch.quota or "")}
    stored |= {"readers_only": str(batch.readers_only).lower(), "everybody": "false"}
    typed = {name: getattr(sent, name) for name in stored} if sent else {}
    return AssignSection(
        now=now,
        annotators=reached(session, batch),
        overdue=batch.id in overdue(session, [batch.id]),
        teams=_teams(session),
        people=_people(session, named),
        chosen={name: getattr(sent, name) for name in ASSIGNEES} if sent else now.ids(),
        values=stored
        | {name: str(value).lower() if isinstance(value, bool) else value for name, value in typed.items()},
        zone=str(zone or "UTC"),
        errors=errors or {},
    )


def fields_of_new(
    session: Session,
    zone: tzinfo | None,
    typed: Mapping[str, str],
    picked: Mapping[str, Sequence[str]],
    errors: Mapping[str, str],
) -> AssignFields:
    """The fields in the form of a new batch, as they were typed and ticked."""
    there_are = {name: form_field.default for name, form_field in AssignForm.model_fields.items()}
    values = {name: str(value).lower() for name, value in there_are.items() if name not in ASSIGNEES}
    return AssignFields(
        teams=_teams(session),
        people=_people(session),
        chosen={name: [int(key) for key in picked.get(name, ()) if key.isdecimal()] for name in ASSIGNEES},
        values=values | {name: typed[name] for name in values if name in typed},
        zone=str(zone or "UTC"),
        errors=errors,
    )


def _teams(session: Session) -> list[Named]:
    found = select(Team.id, Team.name).order_by(func.lower(Team.name), Team.id)
    return [(row[0], row[1]) for row in session.execute(found)]


def _people(session: Session, named: Collection[int] = ()) -> list[Named]:
    """All whose accounts are open, or whose ids are ``named``."""
    found = select(User.id, User.name).where(or_(User.disabled_at.is_(None), User.id.in_(named)))
    return [(row[0], row[1]) for row in session.execute(found.order_by(func.lower(User.name), User.id))]


def wanted(form: AssignForm, now: Assigned, zone: tzinfo | None) -> dict[str, Any]:
    """The settings that the form asks for.

    A batch that nobody gets is not given to everybody by leaving its form as it is: that has to be ticked.

    Raises:
        BadInput: the deadline is no moment.
    """
    assignees = {"teams": form.teams, "people": form.people}
    if now.to_nobody and not form.everybody and not form.teams and not form.people:
        assignees = {}
    plain = form.model_dump(include={"barred", "priority", "quota", "readers_only"})
    return {**plain, **assignees, "deadline": _moment(form.deadline, zone)}


def _moment(typed: str, zone: tzinfo | None) -> datetime | None:
    if not typed.strip():
        return None
    try:
        return datetime.fromisoformat(typed.strip()).replace(tzinfo=zone or UTC)
    except ValueError:
        raise refused("deadline", _("Give a day and a time, such as 2026-12-04 17:00.")) from None
