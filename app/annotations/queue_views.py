"""HTML of the queues: what one annotator has to do and has done. Nobody sees anybody else's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import SignedIn, signed_in
from app.annotations import queues
from app.annotations.queues import Queue, Row
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.paging import Cursor, Page
from app.shell.web import redirect, render

router = APIRouter()


EMPTY = {
    Queue.PENDING: "Nothing in progress. Items you opened but have not written anything in appear here.",
    Queue.DRAFTS: "No drafts. What you write is saved as you type and stays here until you submit it.",
    Queue.SUBMITTED: "Nothing submitted yet. You can correct submissions here until their batch closes.",
    Queue.SKIPPED: "You have not skipped anything.",
    Queue.RETURNED: "No item was returned to you.",
}


@dataclass(frozen=True)
class QueuesPage:
    """Context of ``annotations/queues.html``."""

    queue: Queue
    queues: list[Queue]
    counts: dict[Queue, str]
    page: Page[Row]
    batch: int | None
    batches: list[tuple[int, str]]
    first: bool
    empty: str


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
    batch: str = "",
    before: Cursor = None,
) -> HTMLResponse:
    """One queue, newest first."""
    if name not in {each.value for each in Queue}:
        raise NotFound
    queue = Queue(name)
    chosen = int(batch) if batch.isdecimal() and len(batch) < 19 else None
    context = QueuesPage(
        queue=queue,
        queues=list(Queue),
        counts=queues.counts(session, user, chosen),
        page=queues.queue_page(session, user, queue, batch_id=chosen, before=before),
        batch=chosen,
        batches=queues.batches_of(session, user),
        first=before is None,
        empty=EMPTY[queue],
    )
    return render(request, "annotations/queues.html", context)
