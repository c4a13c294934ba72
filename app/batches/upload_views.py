"""HTML of a new batch: one form, in steps where there is a script, that takes its prompts and says everything about it.

A file that was looked at is kept as an upload, and the form goes on from there; it can also be sent with all the rest at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.accounts.access import Admin
from app.batches import assign_form, importing
from app.batches.assign_form import AssignFields
from app.batches.form_values import as_changed, beside, file_of, suggested, typed, without_prompts
from app.batches.views import SettingsFields
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts import importers, queries, service
from app.prompts.intake import BatchForm, NewBatchForm, Sent
from app.prompts.models import Batch, BatchTask, Upload
from app.prompts.reach import sentences
from app.shell.web import redirect, render
from app.shell.zones import zone_of

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class FileFields:
    """What the field of a file says and takes."""

    errors: dict[str, str]
    unit: str = "line"
    refused: Sequence[Mapping[str, Any]] = ()
    """The first refused lines of a file that has too many of them."""
    limit_mib: int
    prompt_limit: int
    formats: str
    endings: str
    accepted: str


@dataclass(frozen=True, kw_only=True)
class MorePage(FileFields):
    """Context of ``prompts/more.html``, which takes a file of more prompts."""

    batch: Batch


@dataclass(frozen=True, kw_only=True)
class NewPage(FileFields, SettingsFields):
    """Context of ``prompts/new.html``."""

    upload: Upload | None
    """The file that the batch is made of, once it was looked at."""
    twin: Batch | None
    assign: AssignFields


@dataclass(frozen=True, kw_only=True)
class PreviewPage:
    """Context of ``prompts/preview.html``: a file of more prompts for a batch."""

    upload: Upload
    batch: Batch
    values: dict[str, str]
    errors: dict[str, str]
    unseen: list[str]


@router.get("/batches/new")
def new_batch(request: Request, session: DbSession, user: Admin) -> HTMLResponse:  # noqa: ARG001 - whoever is an admin
    """The form of a new batch, before its prompts are known."""
    return new_page(request, session, None, Sent({}))


@router.post("/batches/new")
def make(request: Request, session: DbSession, user: Admin, sent: NewBatchForm) -> Response:
    """Take the prompts and make the batch of them; or only look at them: asked to, or with nothing else in the form."""
    rest = without_prompts(sent)
    try:
        file = file_of(sent)
        upload = service.create_upload(session, user, file.filename, file.content)
    except BadInput as error:
        return new_page(request, session, None, sent, {"file": error.message}, error.extra)
    if not rest.fields:
        return redirect(request, f"/uploads/{upload.id}")
    if "look" in sent.fields:
        return new_page(request, session, upload, as_changed(rest))
    return _made(request, session, user, upload, rest)


@router.get("/uploads/{upload_id}")
def preview(request: Request, session: DbSession, user: Admin, upload_id: int) -> Response:
    """What is in the file, what will be left out, and the form of what it becomes."""
    found = queries.access_upload(session, user, upload_id)
    if found.batch_id is not None:
        return redirect(request, f"/batches/{found.batch_id}")
    if "for_batch" in found.report:
        batch = queries.access_batch(session, user, found.report["for_batch"])
        return preview_page(request, found, {"unnamed_model": "unnamed"}, {}, batch=batch)
    return new_page(request, session, found, Sent({}))


@router.post("/uploads/{upload_id}/confirm")
def confirm(request: Request, session: DbSession, user: Admin, upload_id: int, sent: BatchForm) -> Response:
    """Create the batch. A second click gets the same batch; a wrong setting is answered beside its field."""
    return _made(request, session, user, queries.access_upload(session, user, upload_id), without_prompts(sent))


@router.post("/uploads/{upload_id}/discard")
def discard(request: Request, session: DbSession, user: Admin, upload_id: int) -> Response:
    """Forget the file."""
    found = queries.access_upload(session, user, upload_id)
    batch_id = found.report.get("for_batch")
    service.discard_upload(session, user, found)
    back = f"/batches/{batch_id}" if batch_id else "/batches"
    return redirect(request, back, flash=_("File discarded; nothing was imported."))


def _made(request: Request, session: Session, user: Admin, upload: Upload, sent: Sent) -> Response:
    settings, errors = typed(sent, zone_of(request))
    if settings is None:
        return new_page(request, session, upload, sent, errors)
    try:
        batch = importing.confirm(session, user, upload, settings)
    except BadInput as error:
        return new_page(request, session, upload, sent, beside(error))
    enough = "prompts" if batch.task is BatchTask.STEPS else "ready"
    said = _("Its responses are being generated.")
    if batch.task is BatchTask.WRITE:
        said = _("Open it, and people can write.")
    elif upload.report.get("responses", {}).get(enough) == upload.report["valid"]:
        said = _("Its responses came with it. Open it, and people can judge.")
    return redirect(
        request, f"/batches/{batch.id}", flash=_("“{name}” is imported. {said}", name=batch.name, said=said)
    )


# ── Contexts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _of_file(errors: dict[str, str], extra: Mapping[str, Any]) -> dict[str, Any]:
    settings = get_settings()
    return {
        "errors": errors,
        "unit": extra.get("unit", "line"),
        "refused": extra.get("errors", []),
        "limit_mib": settings.upload_limit_bytes // (1024 * 1024),
        "prompt_limit": settings.prompt_limit_chars,
        "formats": importers.names(),
        "endings": importers.endings(),
        "accepted": importers.accepted(),
    }


def more_page(request: Request, batch: Batch, error: BadInput | None = None) -> HTMLResponse:
    """The page that takes a file of more prompts for ``batch``; with what is wrong with it."""
    of_file = _of_file({"file": error.message} if error else {}, error.extra if error else {})
    return render(request, "prompts/more.html", MorePage(batch=batch, **of_file), status=422 if error else 200)


def new_page(
    request: Request,
    session: Session,
    upload: Upload | None,
    sent: Sent,
    errors: dict[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> HTMLResponse:
    """The form of a new batch as it was filled in, with what is wrong with it; what was not sent is suggested."""
    context = NewPage(
        upload=upload,
        twin=queries.batch_of_file(session, upload.sha256) if upload else None,
        unseen=sentences(upload.report) if upload else [],
        values=suggested(upload) | sent.fields,
        assign=assign_form.fields_of_new(session, zone_of(request), sent.fields, sent.picked, errors or {}),
        **_of_file(errors or {}, extra or {}),
    )
    return render(request, "prompts/new.html", context, status=422 if errors else 200)


def preview_page(
    request: Request, upload: Upload, values: dict[str, str], errors: dict[str, str], *, batch: Batch
) -> HTMLResponse:
    """What is in a file that becomes more of ``batch``; with what was typed and what is wrong with it."""
    context = PreviewPage(upload=upload, batch=batch, values=values, errors=errors, unseen=sentences(upload.report))
    return render(request, "prompts/preview.html", context, status=422 if errors else 200)
