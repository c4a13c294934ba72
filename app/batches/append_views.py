"""HTML of more prompts for a batch: a form that takes a file, whose preview is a page of its own, and adding it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from app.accounts.access import Admin
from app.batches import appending
from app.batches.appending import Appended
from app.batches.form_values import beside
from app.batches.upload_views import more_page, preview_page
from app.kernel.db import DbSession
from app.kernel.errors import BadInput, NotFound
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.prompts import queries
from app.prompts.forms import field_errors
from app.prompts.import_forms import AppendSettings
from app.prompts.intake import AdminFile, AdminForm
from app.prompts.models import Batch, BatchTask
from app.prompts.units import counted
from app.shell.posted import unknown
from app.shell.web import redirect

router = APIRouter()


@router.get("/batches/{batch_id}/prompts/new")
def new_prompts(request: Request, session: DbSession, user: Admin, batch_id: int) -> HTMLResponse:
    """The form that takes a file of more prompts."""
    return more_page(request, queries.access_batch(session, user, batch_id))


@router.post("/batches/{batch_id}/prompts/preview")
def preview_prompts(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminFile) -> Response:
    """Take a file and show what adding it would do; a file that cannot be used is answered beside the field."""
    unknown(set(sent.fields))
    batch = queries.access_batch(session, user, batch_id)
    if sent.file is None or not sent.file.filename:
        return more_page(request, batch, BadInput(_("Choose a file first.")))
    try:
        held = appending.hold(session, user, batch, sent.file.filename, sent.file.content)
    except BadInput as error:
        return more_page(request, batch, error)
    return redirect(request, f"/uploads/{held.id}")


@router.post("/batches/{batch_id}/prompts")
def append_prompts(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminForm) -> Response:
    """Add the file that was shown, by its ``upload``. A second click is told that it has happened."""
    unknown(sent.fields.keys() - AppendSettings.model_fields.keys() - {"upload"})
    batch = queries.access_batch(session, user, batch_id)
    upload_id = _number(sent.fields.get("upload", ""))
    said = {name: value for name, value in sent.fields.items() if name != "upload"}
    try:
        made = appending.take(session, user, batch, upload_id, AppendSettings.model_validate(said))
    except (ValidationError, BadInput) as error:
        held = queries.access_upload(session, user, upload_id)
        wrong = field_errors(error) if isinstance(error, ValidationError) else beside(error)
        return preview_page(request, held, said, wrong, batch=batch)
    flash = _said(batch, made) if made else _("This file was added or discarded before; nothing was added now.")
    return redirect(request, f"/batches/{batch.id}#prompts", flash=flash)


def _number(text: str) -> int:
    """The id of an upload. Raises NotFound."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFound
    return int(text)


def _said(batch: Batch, made: Appended) -> str:
    """What came of it, in a line."""
    parts = [ngettext("{n} prompt added", "{n} prompts added", made.added) if made.added else _("Nothing added")]
    if made.skipped:
        parts.append(
            ngettext(
                "{n} prompt skipped, because the batch has the same content already",
                "{n} prompts skipped, because the batch has the same content already",
                made.skipped,
            )
        )
    if left_out := len(made.report["errors"]):
        parts.append(_("{lines} left out", lines=counted(made.report["unit"], left_out)))
    said = f"{'; '.join(parts)}."
    ready = "prompts" if batch.task is BatchTask.STEPS else "ready"
    if not made.added or batch.task is BatchTask.WRITE or made.report["responses"][ready] == made.added:
        return said
    return f"{said} {_('Their responses are being generated.')}"
