"""HTML of orders of prompts: the form "Make prompts", and how far an order is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role, User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, Conflict
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor
from app.prompts.forms import in_a_sentence
from app.prompts.intake import AdminFile, Sent
from app.shell.posted import unknown
from app.shell.web import redirect, render
from app.synthesis import queries, service
from app.synthesis.catalogue import KINDS, Kind, in_words
from app.synthesis.documents import documents_of
from app.synthesis.forms import MOST, SynthesisOrder
from app.synthesis.models import Synthesis, SynthesisRow

router = APIRouter()

FIELDS = ("generator", "name", "count", "seed", "model", "batch_id", "tasks", "languages", "text")


@dataclass(frozen=True)
class OrderPage:
    """Context of ``synthesis/new.html``. ``values`` are the fields as typed."""

    kinds: Sequence[Kind]
    writers: Sequence[tuple[str, bool]]
    batches: Sequence[tuple[int, str]]
    values: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)
    most: int = MOST


@dataclass(frozen=True)
class SynthesisPage:
    """Context of ``synthesis/synthesis.html`` and ``_synthesis.html``."""

    synthesis: Synthesis
    kind: Kind | None
    left_out: Sequence[SynthesisRow]
    poll_seconds: int | None
    may_write: bool


@dataclass(frozen=True)
class SynthesesPage:
    """Context of ``synthesis/syntheses.html``."""

    syntheses: Sequence[Synthesis]
    kinds: dict[str, Kind]
    next: int | None
    first: bool
    may_write: bool


@router.get("/syntheses/new")
def new_synthesis(request: Request, session: DbSession, user: Admin) -> HTMLResponse:
    """The form."""
    return _form(request, session, user, {"generator": "arithmetic", "count": "100", "seed": "0"}, {})


@router.post("/syntheses")
def order(request: Request, session: DbSession, user: Admin, sent: AdminFile) -> Response:
    """Have prompts made."""
    unknown(sent.fields.keys() - set(FIELDS))
    try:
        found = service.order(session, user, SynthesisOrder.model_validate(_given(sent)))
    except ValidationError as error:
        return _form(request, session, user, sent.fields, _beside(error))
    except BadInput as error:
        named = {one["loc"]: one["msg"] for one in error.extra.get("errors", []) if "loc" in one}
        return _form(request, session, user, sent.fields, named or {"form": error.message})
    except Conflict as error:
        return _form(request, session, user, sent.fields, {"form": error.message})
    return redirect(request, f"/syntheses/{found.id}", flash=_("The prompts are being made."))


@router.get("/syntheses")
def syntheses(request: Request, session: DbSession, user: Reviewer, before: Cursor = None) -> HTMLResponse:
    """All orders, newest first."""
    page = queries.list_syntheses(session, before=before)
    context = SynthesesPage(
        page.rows,
        {name: in_words(kind) for name, kind in KINDS.items()},
        page.next,
        before is None,
        user.role is Role.ADMIN,
    )
    return render(request, "synthesis/syntheses.html", context)


@router.get("/syntheses/{synthesis_id}")
def synthesis_page(request: Request, session: DbSession, user: Reviewer, synthesis_id: int) -> HTMLResponse:
    """How far an order is; asked for by the page itself, the part of it that moves."""
    found = queries.access_synthesis(session, user, synthesis_id)
    moves = 2 if found.finished_at is None else None
    rows = queries.left_out(session, found)
    kind = KINDS.get(found.generator)
    context = SynthesisPage(found, kind and in_words(kind), rows, moves, user.role is Role.ADMIN)
    part = request.headers.get("hx-request") == "true"
    return render(request, "synthesis/_synthesis.html" if part else "synthesis/synthesis.html", context)


@router.post("/syntheses/{synthesis_id}/stop")
def stop(request: Request, session: DbSession, user: Admin, synthesis_id: int) -> Response:
    """Make no more."""
    found = queries.access_synthesis(session, user, synthesis_id)
    service.stop(session, user, found)
    return redirect(request, f"/syntheses/{found.id}", flash=_("No more prompts are made."))


def _given(sent: Sent) -> dict[str, Any]:
    """The form's fields as an order; what was left empty is left out."""
    typed = {name: value for name, value in sent.fields.items() if value.strip() and name not in {"name", "text"}}
    files = [("text", sent.fields.get("text", "").encode())]
    if sent.file is not None and sent.file.content:
        files.append((sent.file.filename, sent.file.content))
    documents = [document for name, content in files for document in documents_of(name, content)]
    return typed | {"settings": {"name": sent.fields.get("name", "")}, "documents": documents}


def _beside(error: ValidationError) -> dict[str, str]:
    """One sentence a field; what is wrong with the batch's name stands beside the name."""
    said: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        path = [str(part) for part in problem["loc"]]
        name = path[-1] if path[:1] == ["settings"] else path[0] if path else "form"
        said.setdefault(name, in_a_sentence(problem))
    return said


def _form(
    request: Request, session: DbSession, user: User, values: dict[str, str], errors: dict[str, str]
) -> HTMLResponse:
    page = OrderPage(
        kinds=tuple(map(in_words, KINDS.values())),
        writers=queries.writers(session),
        batches=queries.batches(session, user),
        values={name: values.get(name, "") for name in FIELDS},
        errors=errors,
    )
    return render(request, "synthesis/new.html", page, status=422 if errors else 200)
