"""HTML of sources for training: what there is, a form that takes a file, weights, and withdrawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role, User
from app.kernel.db import DbSession, without_connection_in_thread
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.kernel.paging import Cursor
from app.kernel.settings import get_settings
from app.prompts import importers
from app.prompts.forms import field_errors
from app.prompts.intake import AdminFile, Sent
from app.shell.posted import unknown
from app.shell.web import redirect, render
from app.sources import queries, service
from app.sources.forms import SourceIn, weight_of
from app.sources.models import Source, SourceKind, SourceOrigin
from app.sources.storing import stored
from training.formats.settings import MOST_WEIGHT

router = APIRouter(prefix="/sources")


@dataclass(frozen=True, kw_only=True)
class SourcesPage:
    """Context of ``sources/sources.html``."""

    sources: Sequence[Source]
    next: int | None
    first: bool
    may_write: bool
    imitates: bool
    """Whether a training has a run that learns from prompts with answers."""
    limit_mib: int
    values: Mapping[str, str] = field(default_factory=dict)
    """The form as it was sent, where it was refused."""
    errors: Mapping[str, str] = field(default_factory=dict)
    refused: Sequence[Mapping[str, Any]] = ()
    unit: str = "line"
    weighed: int | None = None
    """The source whose weight was refused, with what was typed."""
    typed: str = ""
    formats: str = field(default_factory=importers.names)
    accepted: str = field(default_factory=importers.accepted)
    kinds: tuple[SourceKind, ...] = tuple(SourceKind)
    origins: tuple[SourceOrigin, ...] = tuple(SourceOrigin)
    most_weight: float = MOST_WEIGHT


@router.get("")
def sources(request: Request, session: DbSession, user: Reviewer, before: Cursor = None) -> HTMLResponse:
    """All sources, newest first."""
    return _page(request, session, user, before=before)


@router.post("")
def add(request: Request, session: DbSession, user: Admin, sent: AdminFile) -> Response:
    """Add a file. What is wrong with it is said beside the field, with the first refused lines."""
    unknown(sent.fields.keys() - SourceIn.model_fields.keys() - {"file"})
    try:
        wanted = SourceIn.model_validate({name: said for name, said in sent.fields.items() if name != "file"})
    except ValidationError as error:
        return _page(request, session, user, values=sent.fields, errors=field_errors(error))
    if sent.file is None or not sent.file.filename:
        return _page(request, session, user, values=sent.fields, errors={"file": _("Choose a file first.")})
    try:
        with ExitStack() as stack:
            with without_connection_in_thread(session):  # a large file takes a while to read
                found = stack.enter_context(stored(sent.file, wanted))
            made = service.add(session, user, wanted, found)
    except BadInput as error:
        return _refused(request, session, user, sent, error)
    said = ngettext(
        "“{name}” has {n} row. No training learns from it until it has a weight.",
        "“{name}” has {n} rows. No training learns from it until it has a weight.",
        made.rows,
        name=made.name,
    )
    return redirect(request, "/sources", flash=said)


@router.post("/{source_id}/weight")
def weigh(
    request: Request, session: DbSession, user: Admin, source_id: int, weight: Annotated[str, Form()] = ""
) -> Response:
    """Set how much of it the next trainings learn from."""
    found = queries.access_source(session, user, source_id)
    try:
        number = weight_of(weight)
    except BadInput as error:
        return _page(request, session, user, errors={"weight": error.message}, weighed=found.id, typed=weight)
    service.weigh(session, user, found, number)
    said = (
        _("Trainings from now on learn from “{name}”.", name=found.name)
        if number
        else _("No training learns from “{name}” now.", name=found.name)
    )
    return redirect(request, "/sources", flash=said)


@router.post("/{source_id}/withdraw")
def withdraw(request: Request, session: DbSession, user: Admin, source_id: int) -> Response:
    """No training that starts later learns from it."""
    found = queries.access_source(session, user, source_id)
    service.withdraw(session, user, found)
    return redirect(request, "/sources", flash=_("“{name}” is withdrawn.", name=found.name))


def _refused(request: Request, session: Session, user: User, sent: Sent, error: BadInput) -> HTMLResponse:
    listed = error.extra.get("errors", [])
    beside = {each["loc"]: each["msg"] for each in listed if "loc" in each} or {"file": error.message}
    lines = [each for each in listed if "line" in each]
    return _page(
        request,
        session,
        user,
        values=sent.fields,
        errors=beside,
        refused=lines,
        unit=error.extra.get("unit", "line"),
    )


def _page(request: Request, session: Session, user: User, *, before: int | None = None, **more: Any) -> HTMLResponse:
    page = queries.list_sources(session, before=before)
    settings = get_settings()
    context = SourcesPage(
        sources=page.rows,
        next=page.next,
        first=before is None,
        may_write=user.role is Role.ADMIN,
        imitates=settings.training_samples > 0,
        limit_mib=settings.upload_limit_bytes // (1024 * 1024),
        **more,
    )
    return render(request, "sources/sources.html", context, status=422 if context.errors else 200)
