"""The form with which a batch is assigned: what stands in it, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, literal, or_, select
from sqlalchemy.orm import Session

from app.accounts.models import Team, User
from app.batches.assigning import Assigned, Named, of_batch
from app.batches.queries import overdue
from app.comparisons.given import annotators_of
from app.kernel.errors import refused
from app.kernel.locales import gettext as _
from app.prompts.models import Batch, Priority

MINUTES = "%Y-%m-%dT%H:%M"
"""As a field for a moment writes it."""


class AssignForm(BaseModel):
    """What is posted. Teams and people are ids that were ticked."""

    model_config = ConfigDict(extra="forbid", str_max_length=100)

    teams: list[int] = Field(default=[], max_length=1000)
    people: list[int] = Field(default=[], max_length=1000)
    barred: list[int] = Field(default=[], max_length=1000)
    everybody: bool = False
    """Asked only where nobody gets items: whether everybody may again."""
    priority: str = Priority.NORMAL.value
    deadline: str = ""
    quota: str = ""
    readers_only: bool = False


@dataclass(frozen=True, kw_only=True)
class AssignSection:
    """What the section of a batch's page shows."""

    now: Assigned
    overdue: bool
    annotators: int
    """How many annotators that reaches; an item waits for as many as the batch asks for."""
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
    people = select(User.id, User.name).where(or_(User.disabled_at.is_(None), User.id.in_(named)))
    teams = select(Team.id, Team.name).order_by(func.lower(Team.name), Team.id)
    deadline = batch.deadline.astimezone(zone or UTC).strftime(MINUTES) if batch.deadline else ""
    stored = {"priority": batch.priority.value, "deadline": deadline, "quota": str(batch.quota or "")}
    stored |= {"readers_only": str(batch.readers_only).lower(), "everybody": "false"}
    typed = {name: getattr(sent, name) for name in stored} if sent else {}
    return AssignSection(
        now=now,
        annotators=session.scalar(select(func.count()).select_from(annotators_of(literal(batch.id)).subquery())) or 0,
        overdue=batch.id in overdue(session, [batch.id]),
        teams=[(row[0], row[1]) for row in session.execute(teams)],
        people=[(row[0], row[1]) for row in session.execute(people.order_by(func.lower(User.name), User.id))],
        chosen={name: getattr(sent, name) for name in ("teams", "people", "barred")} if sent else now.ids(),
        values=stored
        | {name: str(value).lower() if isinstance(value, bool) else value for name, value in typed.items()},
        zone=str(zone or "UTC"),
        errors=errors or {},
    )


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
