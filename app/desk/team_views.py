"""HTML of the team, for staff: who works and how far it is, one person's work, and what work costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role, User
from app.desk import plots, rates
from app.desk.counting import Work, median
from app.desk.models import Per
from app.desk.plots import Plot
from app.desk.team import SPANS, Named, Person, Team, person, span, team
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, refused
from app.kernel.locales import gettext as _
from app.quality.statistics import ENOUGH
from app.shell.web import redirect, render

router = APIRouter(prefix="/desk")

Days = Annotated[int, Query(ge=0, le=10_000)]


class RateForm(BaseModel):
    """What work costs, as it is typed."""

    model_config = ConfigDict(extra="forbid")

    amount: str = ""
    per: str = Per.HOUR.value
    currency: str = ""


@dataclass(frozen=True)
class TeamPage:
    """Context of ``desk/team.html``. ``names``: for admins, who know people by name anyway."""

    team: Team
    plots: Sequence[Plot]
    median_seconds: float | None
    done: Work
    done_today: int
    costs: dict[int, tuple[str, str]]
    """Of a batch, and of an item in it; empty without a rate."""
    days: int
    spans: Sequence[int]
    enough: int
    names: bool
    form: RateForm
    errors: dict[str, str]


@dataclass(frozen=True)
class PersonPage:
    """Context of ``desk/person.html``."""

    person: Person
    plots: Sequence[Plot]
    median_seconds: float | None
    done: Work
    days: int
    spans: Sequence[int]
    enough: int
    names: bool


@router.get("/team")
def team_page(request: Request, session: DbSession, user: Reviewer, days: Days = SPANS[0]) -> HTMLResponse:
    """The team: who works now, what was done, what is left, and what it costs."""
    return render(request, "desk/team.html", _team(session, user, days))


@router.get("/people/{user_id:int}")
def person_page(
    request: Request, session: DbSession, user: Reviewer, user_id: int, days: Days = SPANS[0]
) -> HTMLResponse:
    """One person's work."""
    names = user.role is Role.ADMIN
    found = person(session, user, user_id, span(days))
    shown = [plots.items(found.counts), plots.times(found.counts)]
    page = PersonPage(
        person=found,
        plots=[*shown, plots.gold(found.gold)] if found.gold else shown,
        median_seconds=median(found.counts.times),
        done=found.counts.people.get(user_id, Work()),
        days=span(days),
        spans=SPANS,
        enough=ENOUGH,
        names=names,
    )
    return render(request, "desk/person.html", page)


@router.post("/rate")
def set_rate(request: Request, session: DbSession, user: Admin, form: Annotated[RateForm, Form()]) -> Response:
    """Set what work costs."""
    try:
        if form.per not in set(Per):
            raise refused("per", _("Choose an hour or an item."))
        rates.set_rate(session, user, form.amount, Per(form.per), form.currency)
    except BadInput as wrong:
        page = _team(session, user, SPANS[0], form=form, errors=wrong.by_field)
        return render(request, "desk/team.html", page, status=wrong.status)
    return redirect(request, "/desk/team", flash=_("Saved. Costs are shown by batch."))


@router.post("/rate/remove")
def remove_rate(request: Request, session: DbSession, user: Admin) -> Response:
    """Show no costs any more."""
    removed = rates.remove_rate(session, user)
    return redirect(request, "/desk/team", flash=_("Removed.") if removed else _("There was no rate."))


def _team(
    session: Session, user: User, days: int, *, form: RateForm | None = None, errors: dict[str, str] | None = None
) -> TeamPage:
    found = team(session, user, span(days))
    names = user.role is Role.ADMIN
    rate = found.rate
    if form is None and rate is not None:
        form = RateForm(amount=rates.written(rate), per=rate.per.value, currency=rate.currency)
    counts = found.counts
    labels = {each.who.id: _label(each.who, names=names) for each in found.people}
    return TeamPage(
        team=found,
        plots=[plots.throughput(counts, labels), plots.times(counts)],
        median_seconds=median(counts.times),
        done=sum((each.work for each in found.people), Work()),
        done_today=counts.of_day(counts.until).items,
        costs=_costs(found),
        days=span(days),
        spans=SPANS,
        enough=ENOUGH,
        names=names,
        form=form or RateForm(),
        errors=errors or {},
    )


def _label(who: Named, *, names: bool) -> str:
    return who.name if names else who.pseudonym


def _costs(found: Team) -> dict[int, tuple[str, str]]:
    rate = found.rate
    if rate is None:
        return {}

    def said(amount: Decimal | None) -> str:
        return _("not timed") if amount is None else rates.money(amount, rate.currency)

    return {
        each.id: (said(rates.cost(rate, each.work)), said(rates.cost_per_item(rate, each.work)))
        for each in found.batches
        if each.work.items
    }
