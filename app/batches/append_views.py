"""HTML of more prompts for a batch: one form, whose file is added whole or answered line by line."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from app.accounts.access import Admin
from app.batches import appending
from app.batches.appending import Appended
from app.batches.views import upload_page
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.prompts import queries
from app.prompts.forms import field_errors
from app.prompts.import_forms import AppendSettings
from app.prompts.intake import AdminFile
from app.prompts.models import Batch, BatchTask
from app.shell.posted import unknown
from app.shell.web import redirect

router = APIRouter()


@router.get("/batches/{batch_id}/prompts/new")
def new_prompts(request: Request, session: DbSession, user: Admin, batch_id: int) -> HTMLResponse:
    """The form that takes a file of more prompts."""
    return upload_page(request, batch=queries.access_batch(session, user, batch_id))


@router.post("/batches/{batch_id}/prompts")
def append_prompts(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminFile) -> Response:
    """Add the file; what is wrong with it is answered beside the field, and nothing is added then."""
    unknown(sent.fields.keys() - AppendSettings.model_fields.keys())
    batch = queries.access_batch(session, user, batch_id)
    if sent.file is None or not sent.file.filename:
        return upload_page(request, BadInput("Choose a file first."), batch=batch, values=sent.fields)
    try:
        settings = AppendSettings.model_validate(sent.fields)
        made = appending.append(session, user, batch, sent.file.filename, sent.file.content, settings)
    except ValidationError as error:
        return upload_page(request, batch=batch, values=sent.fields, errors=field_errors(error))
    except BadInput as error:
        return upload_page(request, error, batch=batch, values=sent.fields)
    return redirect(request, f"/batches/{batch.id}#prompts", flash=_said(batch, made))


def _said(batch: Batch, made: Appended) -> str:
    """What came of it, in a line."""
    parts = [f"{_prompts(made.added)} added" if made.added else "Nothing added"]
    if made.skipped:
        parts.append(f"{_prompts(made.skipped)} skipped, because the batch has the same content already")
    if left_out := len(made.report["errors"]):
        unit = made.report["unit"]
        parts.append(f"{left_out:,} {unit}{'s' if left_out > 1 else ''} left out")
    said = f"{'; '.join(parts)}."
    ready = "prompts" if batch.task is BatchTask.STEPS else "ready"
    if not made.added or batch.task is BatchTask.WRITE or made.report["responses"][ready] == made.added:
        return said
    return f"{said} Their responses are being generated."


def _prompts(count: int) -> str:
    return f"{count:,} {'prompt' if count == 1 else 'prompts'}"
