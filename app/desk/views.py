"""HTML of the desk, for staff: the table, an item with all its judgements, acts on many rows, and one's own views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role, User
from app.annotations import texts
from app.annotations.models import Annotation
from app.desk import assigning, items, offered, queries, service
from app.desk.forms import Asked
from app.desk.items import Item
from app.desk.models import DeskView
from app.desk.offered import Assignees, Choices
from app.desk.queries import AT_ONCE, Row
from app.desk.service import REASON_LIMIT, VIEW_NAME, Act, Done, Pick
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput, Conflict
from app.kernel.locales import gettext as _
from app.kernel.paging import Page
from app.lineage.reach import Reach, reach
from app.quality.forms import Words
from app.quality.queries import access_annotation
from app.shell.web import is_exchange, redirect, render
from app.shell.zones import zone_of
from training.formats.languages import named

router = APIRouter(prefix="/desk")

Options = Sequence[tuple[object, str]]
ROWS_LIMIT = AT_ONCE * 42
"""Characters of a thousand rows as they are sent: two numbers each, and what stands between."""
Filters = Annotated[Asked, Query()]
Text = Annotated[Words, Form()]

NOT_KEPT = {"cache-control": "no-store"}


class RowsForm(BaseModel):
    """What the table sends: rows as their id and their latest review, ``41:3``, from the boxes and as one list."""

    model_config = ConfigDict(extra="forbid")

    row: list[str] = Field(default_factory=list, max_length=AT_ONCE)
    rows: str = Field(default="", max_length=ROWS_LIMIT)
    note: Words = ""
    to: str = Field(default="", max_length=40)
    """Whom items are assigned to: ``person:7`` or ``team:3``."""

    def named(self, kind: str) -> list[int]:
        """The id of a person or a team that was chosen; none where another kind was."""
        chosen, _, key = self.to.partition(":")
        return [int(key)] if chosen == kind and key.isascii() and key.isdecimal() and len(key) < 19 else []

    def picks(self) -> list[Pick]:
        """The rows, each once. What cannot be read is no row."""
        found: dict[int, int] = {}
        for each in [*self.row, *self.rows.split()]:
            key, _, seen = each.partition(":")
            if all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (key, seen)):
                found[int(key)] = int(seen)
        return [Pick(key, seen) for key, seen in found.items()]


class RetractForm(RowsForm):
    """The same to be retracted: shown what that reaches, unless it is confirmed."""

    reason: str = Field(default="", max_length=4 * REASON_LIMIT)
    confirmed: bool = False


@dataclass(frozen=True)
class DeskPage:
    """Context of ``desk/desk.html``. ``names``: for admins, who know people by name anyway."""

    page: Page[Row]
    asked: Asked
    query: str
    further: str | None
    first: bool
    filtered: bool
    more: bool
    """Whether a filter that is not in the first line is given."""
    choices: Choices
    assignees: Assignees
    language: str
    views: Sequence[DeskView]
    names: bool
    whole: bool
    view_name: int
    problem: str | None = None
    note: str = ""
    to: str = ""
    """Whom items were to be assigned to when something was wrong."""
    assigns: bool = False
    """Whether it was that."""
    chosen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ItemPage:
    """Context of ``desk/item.html`` and ``desk/_item.html``."""

    item: Item
    query: str
    names: bool
    limit: int = REASON_LIMIT
    problem: str | None = None
    errors: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    chosen: int | None = None
    """The judgement that was to hold when something was wrong."""


@dataclass(frozen=True)
class RetractPage:
    """Context of ``desk/retract.html``."""

    reach: Reach
    rows: str
    count: int
    query: str
    limit: int = REASON_LIMIT
    errors: dict[str, str] = field(default_factory=dict)
    reason: str = ""


@router.get("")
def desk(request: Request, session: DbSession, user: Reviewer, asked: Filters) -> HTMLResponse:
    """The table."""
    return render(request, "desk/desk.html", _desk(request, session, user, asked))


@router.get("/chosen")
def chosen(request: Request, session: DbSession, user: Reviewer, asked: Filters) -> JSONResponse:
    """All rows that match, for the script of the table: as the form sends them."""
    found = queries.choose(session, user, asked.wanted(zone_of(request)))
    rows = " ".join(f"{key}:{seen}" for key, seen in found.rows)
    return JSONResponse({"rows": rows, "count": len(found.rows), "whole": found.whole}, headers=NOT_KEPT)


@router.get("/annotations/{annotation_id}")
def item(request: Request, session: DbSession, user: Reviewer, annotation_id: int, asked: Filters) -> HTMLResponse:
    """All judgements of an item side by side: as a page, or as the part of one that htmx asks for."""
    page = ItemPage(items.access_item(session, user, annotation_id), asked.address(), user.role is Role.ADMIN)
    return render(request, "desk/_item.html" if is_exchange(request) else "desk/item.html", page)


@router.post("/accept")
def accept(
    request: Request, session: DbSession, user: Reviewer, asked: Filters, form: Annotated[RowsForm, Form()]
) -> Response:
    """Accept the chosen rows, as far as they are as they were."""
    act = Act.ACCEPT
    return _act(request, session, user, asked, form, lambda: service.review_many(session, user, act, form.picks()))


@router.post("/return")
def give_back(
    request: Request, session: DbSession, user: Reviewer, asked: Filters, form: Annotated[RowsForm, Form()]
) -> Response:
    """Return the chosen rows with one note, as far as they are as they were."""
    return _act(
        request,
        session,
        user,
        asked,
        form,
        lambda: service.review_many(session, user, Act.RETURN, form.picks(), form.note),
    )


@router.post("/assign")
def assign(
    request: Request, session: DbSession, user: Reviewer, asked: Filters, form: Annotated[RowsForm, Form()]
) -> Response:
    """Ask a person, or one of a team, for one more judgement of each item of the chosen rows."""
    return _act(
        request,
        session,
        user,
        asked,
        form,
        lambda: assigning.assign(session, user, form.picks(), form.named("person"), form.named("team")),
    )


@router.post("/unassign")
def unassign(
    request: Request, session: DbSession, user: Reviewer, asked: Filters, form: Annotated[RowsForm, Form()]
) -> Response:
    """Ask nobody any more who was asked about an item of the chosen rows and has not begun it."""
    return _act(request, session, user, asked, form, lambda: assigning.unassign(session, user, form.picks()))


@router.post("/retract")
def retract(
    request: Request, session: DbSession, user: Admin, asked: Filters, form: Annotated[RetractForm, Form()]
) -> Response:
    """Show what retracting the chosen rows would reach; once that is confirmed, retract them."""
    rows = form.picks()
    try:
        if not form.confirmed:
            return render(request, "desk/retract.html", _retract(session, asked, rows))
        with session.begin_nested():
            done = service.retract_many(session, user, rows, form.reason)
    except BadInput as wrong:
        if not rows:
            return _refused(request, session, user, asked, wrong)
        page = _retract(session, asked, rows, errors=_fields(wrong), reason=form.reason)
        return render(request, "desk/retract.html", page, status=422)
    return redirect(request, _url(asked), flash=done.said())


@router.post("/annotations/{annotation_id}/holds")
def adjudicate(
    request: Request, session: DbSession, user: Reviewer, annotation_id: int, asked: Filters, reason: Text = ""
) -> Response:
    """Make a judgement the one of its item that holds."""
    annotation = access_annotation(session, user, annotation_id)
    try:
        with session.begin_nested():
            service.adjudicate(session, user, annotation, reason)
    except (BadInput, Conflict) as wrong:
        page = ItemPage(
            items.access_item(session, user, annotation_id),
            asked.address(),
            user.role is Role.ADMIN,
            problem=wrong.message,
            errors=_fields(wrong),
            reason=reason,
            chosen=annotation_id,
        )
        return render(request, "desk/item.html", page, status=wrong.status)
    flash = _("This judgement is settled: the others of its item do not count.")
    return redirect(request, _item_url(annotation_id, asked), flash=flash)


@router.post("/annotations/{annotation_id}/reopen")
def reopen(request: Request, session: DbSession, user: Reviewer, annotation_id: int, asked: Filters) -> Response:
    """Let all judgements of an item count again."""
    annotation = access_annotation(session, user, annotation_id)
    ended = service.end_adjudication(session, user, annotation.comparison_id)
    flash = _("All judgements of this item count again.") if ended else _("They all counted already.")
    return redirect(request, _item_url(annotation_id, asked), flash=flash)


@router.post("/views")
def keep_view(
    request: Request, session: DbSession, user: Reviewer, asked: Filters, name: Annotated[str, Form()] = ""
) -> Response:
    """Keep the filters under a name."""
    try:
        view = service.keep_view(session, user, name, asked.address())
    except BadInput as wrong:
        return _refused(request, session, user, asked, wrong)
    return redirect(request, _url(asked), flash=_("Saved as “{name}”.", name=view.name))


@router.post("/views/{view_id}/delete")
def delete_view(request: Request, session: DbSession, user: Reviewer, view_id: int, asked: Filters) -> Response:
    """Forget a view."""
    service.delete_view(session, user, view_id)
    return redirect(request, _url(asked), flash=_("Deleted."))


def _act(
    request: Request, session: Session, user: User, asked: Asked, form: RowsForm, act: Callable[[], Done]
) -> Response:
    try:
        done = act()
    except BadInput as wrong:
        return _refused(request, session, user, asked, wrong, form)
    return redirect(request, _url(asked), flash=done.said())


def _refused(
    request: Request, session: Session, user: User, asked: Asked, wrong: AppError, form: RowsForm | None = None
) -> Response:
    """The table again, with what was wrong and what was chosen."""
    form = form or RowsForm()
    chosen = frozenset(f"{pick.id}:{pick.seen}" for pick in form.picks())
    assigns = bool(_fields(wrong).keys() & {"to", "people", "teams"})
    page = _desk(request, session, user, asked, problem=wrong.message, form=form, assigns=assigns, chosen=chosen)
    return render(request, "desk/desk.html", page, status=wrong.status)


def _desk(
    request: Request,
    session: Session,
    user: User,
    asked: Asked,
    *,
    problem: str | None = None,
    form: RowsForm | None = None,
    assigns: bool = False,
    chosen: frozenset[str] = frozenset(),
) -> DeskPage:
    wanted = asked.wanted(zone_of(request))
    page = queries.desk_page(session, user, wanted, before=asked.before)
    simple = {"q", "batch", "reviewed", "outcome", "sort"}
    return DeskPage(
        page=page,
        asked=asked,
        query=asked.address(),
        further=asked.address(before=page.next) if page.next is not None else None,
        first=asked.before is None,
        filtered=bool(wanted),
        more=any(getattr(asked, name) for name in Asked.model_fields if name not in simple | {"before"}),
        choices=offered.choices(session),
        assignees=offered.assignees(session, user),
        language=named([wanted.language]) if wanted.language else "",
        views=queries.views_of(session, user),
        names=user.role is Role.ADMIN,
        whole=texts.is_filled(session),
        view_name=VIEW_NAME,
        problem=problem,
        note=form.note if form else "",
        to=form.to if form else "",
        assigns=assigns,
        chosen=chosen,
    )


def _retract(
    session: Session,
    asked: Asked,
    rows: Sequence[Pick],
    *,
    errors: dict[str, str] | None = None,
    reason: str = "",
) -> RetractPage:
    service.check_number(rows)
    ids = select(Annotation.id).where(Annotation.id.in_([pick.id for pick in rows]), Annotation.retraction_id.is_(None))
    return RetractPage(
        reach=reach(session, ids),
        rows=" ".join(f"{pick.id}:{pick.seen}" for pick in rows),
        count=len(rows),
        query=asked.address(),
        errors=errors or {},
        reason=reason,
    )


def _fields(wrong: AppError) -> dict[str, str]:
    return {each["loc"]: each["msg"] for each in wrong.extra.get("errors", [])}


def _url(asked: Asked) -> str:
    query = asked.address()
    return f"/desk?{query}" if query else "/desk"


def _item_url(annotation_id: int, asked: Asked) -> str:
    query = asked.address()
    return f"/desk/annotations/{annotation_id}" + (f"?{query}" if query else "")
