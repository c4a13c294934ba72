"""HTML of documents: a batch's page takes them, lists them and forgets them."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.accounts.access import Admin
from app.batches.views import shown_batch
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.prompts import documents, queries
from app.prompts.intake import AdminFile
from app.shell.posted import unknown
from app.shell.web import redirect

router = APIRouter()


@router.post("/batches/{batch_id}/documents")
def add_document(request: Request, session: DbSession, user: Admin, batch_id: int, sent: AdminFile) -> Response:
    """Take one document; what is wrong with it is answered beside the field."""
    unknown(set(sent.fields))
    batch = queries.access_batch(session, user, batch_id)
    if sent.file is None or not sent.file.filename:
        return shown_batch(request, session, True, batch, errors={"file": "Choose a file first."})
    try:
        made = documents.add(session, user, batch, sent.file.filename, sent.file.content)
    except BadInput as error:
        return shown_batch(request, session, True, batch, errors={"file": error.message})
    return redirect(
        request,
        f"/batches/{batch.id}#documents",
        flash=_("“{filename}” can be found by the search tool.", filename=made.filename),
    )


@router.post("/batches/{batch_id}/documents/{document_id}/delete")
def delete_document(request: Request, session: DbSession, user: Admin, batch_id: int, document_id: int) -> Response:
    """Forget one document."""
    batch = queries.access_batch(session, user, batch_id)
    found = documents.access_document(session, batch, document_id)
    name = found.filename
    documents.remove(session, user, found)
    return redirect(request, f"/batches/{batch.id}#documents", flash=_("“{name}” is deleted.", name=name))
