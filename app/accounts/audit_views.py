"""The audit log for admins: the page, JSON, and JSON Lines of all that a filter keeps. Exporting it is an event, too."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy.orm import Session

from app.accounts import audit_log, queries
from app.accounts.access import Admin, ApiAdmin, admin, api_admin
from app.accounts.audit_log import EXAMPLE, KINDS, EventOut, Kind, Passed, Wanted
from app.accounts.disclosure import disclosed
from app.accounts.models import User
from app.kernel.db import DbSession, session_scope
from app.kernel.paging import Cursor, Limit
from app.kernel.settings import get_settings
from app.kernel.storable import flaw
from app.shell.spool import Download
from app.shell.web import render

router = APIRouter()
api = APIRouter(tags=["audit log"])

PER_PAGE = 50
Text = Annotated[str, Query(max_length=64)]
MEDIA_TYPE = "application/jsonl"


@dataclass(frozen=True)
class Shape:
    """One way to download events."""

    ending: str
    media_type: str
    make: Callable[[Session, Wanted, Passed], Iterator[bytes]]


JSON_LINES = Shape("jsonl", MEDIA_TYPE, audit_log.lines)
CSV = Shape("csv", "text/csv", audit_log.rows)


@dataclass(frozen=True)
class AuditLogPage:
    """Context of ``accounts/audit_log.html``."""

    events: Sequence[EventOut]
    wanted: Wanted
    since: str
    until: str
    """The last day that is in, as the form has it."""
    query: str
    older: str | None
    first: bool
    people: Sequence[User]
    kinds: dict[Kind, str]
    days: int
    """For how many events are kept; 0: for ever."""


def chosen(
    kind: Text = "", person: Text = "", address: Text = "", since: Text = "", until: Text = "", text: Text = ""
) -> Wanted:
    """The filter of the page's form; what cannot be read filters nothing. Days are those of UTC."""
    last = _day(until)
    return Wanted(
        kind=Kind(kind) if kind in set(Kind) else None,
        person_id=int(person) if person.isdecimal() and person.isascii() and len(person) < 19 else None,
        address=address.strip() if flaw(address) is None else "",
        since=_day(since),
        until=last + timedelta(days=1) if last else None,
        text=text.strip() if flaw(text) is None else "",
    )


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def given(
    kind: Kind | None = None,
    person: Annotated[
        int | None, Query(ge=0, le=2**63 - 1, description="The id of the person who did it or whom it is about.")
    ] = None,
    address: Annotated[str, Query(max_length=64, pattern=r"^[^\x00]*$")] = "",
    since: AwareDatetime | None = None,
    until: Annotated[AwareDatetime | None, Query(description="Exclusive.")] = None,
    text: Annotated[
        str, Query(max_length=64, pattern=r"^[^\x00]*$", description="In the action, the words for it or the details.")
    ] = "",
) -> Wanted:
    """The filter of the API."""
    return Wanted(kind, person, address, since, until, text)


Chosen = Annotated[Wanted, Depends(chosen)]
Given = Annotated[Wanted, Depends(given)]


class EventList(BaseModel):
    """A page of events, newest first; ``next`` is the ``before`` of the page that follows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [EXAMPLE], "next": None}]})

    events: list[EventOut]
    next: int | None


@router.get("/audit-log", dependencies=[Depends(admin)])
def page(request: Request, session: DbSession, wanted: Chosen, before: Cursor = None) -> HTMLResponse:
    """Who did what, when and from where, newest first."""
    found = audit_log.page(session, wanted, before=before, limit=PER_PAGE)
    context = AuditLogPage(
        events=found.rows,
        wanted=wanted,
        since=f"{wanted.since:%Y-%m-%d}" if wanted.since else "",
        until=f"{wanted.until - timedelta(days=1):%Y-%m-%d}" if wanted.until else "",
        query=_query(wanted),
        older=_query(wanted, before=found.next) if found.next else None,
        first=before is None,
        people=queries.people(session),
        kinds=KINDS,
        days=get_settings().audit_days,
    )
    return render(request, "accounts/audit_log.html", context)


@router.get("/audit-log/events.jsonl")
def export(user: Admin, wanted: Chosen) -> StreamingResponse:
    """All events that the filter keeps, as they are read."""
    return _download(user, wanted, JSON_LINES)


@router.get("/audit-log/events.csv")
def export_table(user: Admin, wanted: Chosen) -> StreamingResponse:
    """The same for a spreadsheet."""
    return _download(user, wanted, CSV)


@api.get("/audit-log", dependencies=[Depends(api_admin)])
def list_events(session: DbSession, wanted: Given, before: Cursor = None, limit: Limit = 25) -> EventList:
    """Who did what, when and from where, newest first."""
    found = audit_log.page(session, wanted, before=before, limit=limit)
    return EventList(events=found.rows, next=found.next)


_TABLE: dict[int | str, dict[str, Any]] = {
    200: {"description": "One event per row.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "One event per line.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}


@api.get("/audit-log/events.jsonl", responses=_FILE, response_class=StreamingResponse)
def export_events(user: ApiAdmin, wanted: Given) -> StreamingResponse:
    """Stream all events, newest first, one a line. That you did is an event, too."""
    return _download(user, wanted, JSON_LINES)


@api.get("/audit-log/events.csv", responses=_TABLE, response_class=StreamingResponse)
def export_table_of_events(user: ApiAdmin, wanted: Given) -> StreamingResponse:
    """Stream the same as CSV, with a line of titles; no spreadsheet takes a text of it for a formula."""
    return _download(user, wanted, CSV)


def _download(user: User, wanted: Wanted, kind: Shape) -> StreamingResponse:
    name = f"audit-log-{datetime.now(UTC):%Y%m%d-%H%M}.{kind.ending}"
    return Download(name, partial(_pieces, user, wanted, kind), media_type=kind.media_type)


def _pieces(user: User, wanted: Wanted, kind: Shape) -> Generator[bytes]:
    passed = Passed()
    with session_scope() as session:
        make = partial(kind.make, session, wanted, passed)
        yield from disclosed(session, user, "audit_log", make, lambda: passed.rows, filter=wanted.said())


def _query(wanted: Wanted, before: int | None = None) -> str:
    """The filter as a query, with its question mark; nothing where it keeps everything."""
    values: dict[str, Any] = {
        "kind": wanted.kind,
        "person": wanted.person_id,
        "address": wanted.address,
        "since": wanted.since and f"{wanted.since:%Y-%m-%d}",
        "until": wanted.until and f"{wanted.until - timedelta(days=1):%Y-%m-%d}",
        "text": wanted.text,
        "before": before,
    }
    query = urlencode({name: str(value) for name, value in values.items() if value})
    return f"?{query}" if query else ""
