"""JSON of documents: the texts that the search tool of a batch's prompts finds."""

from __future__ import annotations

import hashlib
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.prompts import documents, queries
from app.prompts.documents import Listed
from app.prompts.intake import ApiFile, described

router = APIRouter(tags=["batches"])

_FILE = f"A text of at most {documents.MOST_BYTES:,} bytes; its name ends in {', '.join(documents.ENDINGS)}."


class DocumentJson(BaseModel):
    """One document, without its text."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[4])
    filename: str = Field(examples=["handbook.md"])
    sha256: str = Field(
        description="Of the file as it was sent.",
        examples=["2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"],
    )
    bytes: int = Field(description="Of its text in UTF-8.", examples=[18_204])
    created_at: datetime


class DocumentList(BaseModel):
    """The documents of a batch by name."""

    documents: list[DocumentJson]


@router.get("/batches/{batch_id}/documents")
def list_documents(session: DbSession, user: ApiReviewer, batch_id: int) -> DocumentList:
    """The documents of a batch."""
    batch = queries.access_batch(session, user, batch_id)
    return DocumentList(documents=[_json(each) for each in documents.of_batch(session, batch)])


@router.post(
    "/batches/{batch_id}/documents",
    status_code=201,
    response_model=DocumentJson,
    openapi_extra=described(_FILE),
    dependencies=[TAKES_KEY],
)
def add_document(request: Request, session: DbSession, user: ApiAdmin, batch_id: int, sent: ApiFile) -> Response:
    """Add a document; it takes the place of one with the same name. Prompts that waited for documents are tried again."""
    batch, file = queries.access_batch(session, user, batch_id), sent.file
    if file is None or sent.fields:
        message = "Send one file, in the field “file”, and nothing else."
        raise BadInput(message, errors=[{"loc": "file", "msg": message}])

    def work() -> DocumentJson:
        made = documents.add(session, user, batch, file.filename, file.content)
        return next(_json(each) for each in documents.of_batch(session, batch) if each.id == made.id)

    same = b"\0".join([file.filename.encode(), hashlib.sha256(file.content).digest()])
    return once(session, user, request, same, work, status=201)


@router.delete("/batches/{batch_id}/documents/{document_id}", status_code=204, dependencies=[TAKES_KEY])
def delete_document(request: Request, session: DbSession, user: ApiAdmin, batch_id: int, document_id: int) -> Response:
    """Delete a document. The responses that found something in it stay as they are."""
    batch = queries.access_batch(session, user, batch_id)

    def work() -> None:
        documents.remove(session, user, documents.access_document(session, batch, document_id))

    return once(session, user, request, b"", work, status=204)


def _json(document: Listed) -> DocumentJson:
    return DocumentJson.model_validate(document)
