"""HTML of the queues: what one annotator has to do and has done. Nobody sees anybody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import SignedIn, signed_in
from app.annotations import queues
from app.annotations.queues import Queue, Row, Sought
from app.annotations.skips import REASONS
from app.judgements.vocabulary import Outcome
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.paging import LARGEST, Page
from app.kernel.storable import flaw
from app.shell.web import redirect, render
from app.shell.zones import zone_of

router = APIRouter()


EMPTY = {
    Queue.PENDING: N_(
        "Nothing in progress. Items that you opened or were assigned, and have not written anything in, appear here."
    ),
    Queue.DRAFTS: N_("No drafts. What you write is saved as you type and stays here until you submit it."),
    Queue.SUBMITTED: N_("Nothing submitted yet. You can correct submissions here until their batch closes."),
    Queue.SKIPPED: N_("You have not skipped anything."),
    Queue.RETURNED: N_("No item was returned to you."),
}
YEARS = range(1970, 2200)


class Asked(BaseModel):
    """What stands in the address: filters as they were chosen. What makes no sense filters nothing."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    q: str = Field(default="", max_length=200)
    batch: str = ""
    outcome: str = ""
    edited: str = ""
    reason: str = Field(default="", max_length=200)
    since: str = Field(default="", alias="from")
    until: str = Field(default="", alias="to")
    before: Annotated[int, Field(ge=0, le=LARGEST)] | None = None

    def sought(self, request: Request) -> Sought:
        """The same as it is looked for."""
        return Sought(
            batch_id=int(self.batch) if self.batch.isdecimal() and len(self.batch) < 19 else None,
            text="" if flaw(self.q) else self.q.strip(),
            outcome=Outcome(self.outcome) if self.outcome in {each.value for each in Outcome} else None,
            edited=self.edited == "1",
            reason=self.reason if self.reason in REASONS else "",
            since=_day(self.since),
            until=_day(self.until),
            zone=zone_of(request),
        )


@dataclass(frozen=True)
class QueuesPage:
    """Context of ``annotations/queues.html``."""

    queue: Queue
    queues: list[Queue]
    counts: dict[Queue, str]
    page: Page[Row]
    sought: Sought
    filters: str
    """What is sought, as it stands in an address; empty where that is everything."""
    batches: list[tuple[int, str]]
    outcomes: Mapping[Outcome, str]
    reasons: Sequence[str]
    first: bool
    empty: str


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year in YEARS else None


def _address(sought: Sought) -> str:
    values = {
        "q": sought.text,
        "batch": sought.batch_id or "",
        "outcome": sought.outcome or "",
        "edited": "1" if sought.edited else "",
        "reason": sought.reason,
        "from": sought.since or "",
        "to": sought.until or "",
    }
    return urlencode({name: str(value) for name, value in values.items() if value})


@router.get("/queues", dependencies=[Depends(signed_in)])
def all_queues(request: Request) -> Response:
    """The first queue."""
    return redirect(request, f"/queues/{Queue.PENDING}")


@router.get("/queues/{queue}")
def one_queue(
    request: Request,
    session: DbSession,
    user: SignedIn,
    name: Annotated[str, Path(alias="queue")],
    asked: Annotated[Asked, Query()],
) -> HTMLResponse:
    """One queue, newest first, or what is sought of it."""
    if name not in {each.value for each in Queue}:
        raise NotFound
    queue, sought = Queue(name), asked.sought(request)
    context = QueuesPage(
        queue=queue,
        queues=list(Queue),
        counts=queues.counts(session, user, sought.batch_id),
        page=queues.queue_page(session, user, queue, sought, before=asked.before),
        sought=sought,
        filters=_address(sought),
        batches=queues.batches_of(session, user),
        outcomes={each: each.label for each in Outcome},
        reasons=REASONS,
        first=asked.before is None,
        empty=_(EMPTY[queue]),
    )
    return render(request, "annotations/queues.html", context)
