"""JSON of sources for training: the same services as the pages."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession, without_connection_in_thread
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor, Limit
from app.prompts import importers
from app.prompts.forms import field_errors
from app.prompts.intake import ApiFile, Sent, SentFile, described
from app.sources import queries, service
from app.sources.forms import SourceIn, SourceJson, SourceList, WeightIn
from app.sources.models import Source
from app.sources.storing import stored

router = APIRouter(tags=["sources"])

_FILE = f"{importers.names()}; the file's name says which. It may be packed, as an import of prompts may be."
_REFUSED: dict[int | str, dict[str, Any]] = {
    422: {
        "description": "The file or the settings are invalid; `errors` lists the first refused lines, or the fields.",
        "content": {
            "application/problem+json": {
                "example": {
                    "type": "/api/v1/problems/bad-input",
                    "title": "This input cannot be used",
                    "status": 422,
                    "detail": "1 line is refused. The first: line 12 finds no response better than another: remove the row. "
                    "Correct the file and upload it again, or choose to keep the 55 valid rows and leave the rest out.",
                    "errors": [{"line": 12, "reason": "finds no response better than another: remove the row"}],
                }
            }
        },
    }
}


@router.get("/sources", dependencies=[Depends(api_staff)])
def list_sources(session: DbSession, before: Cursor = None, limit: Limit = 25) -> SourceList:
    """Sources for training, newest first, withdrawn ones among them."""
    page = queries.list_sources(session, before=before, limit=limit)
    return SourceList(sources=[SourceJson.model_validate(each) for each in page.rows], next=page.next)


@router.post(
    "/sources",
    status_code=201,
    response_model=SourceJson,
    responses=_REFUSED,
    openapi_extra=described(_FILE, SourceIn, "file", "settings"),
    dependencies=[TAKES_KEY],
)
def add_source(request: Request, session: DbSession, user: ApiAdmin, sent: ApiFile) -> Response:
    """Add a file of preferences, or of prompts with answers. No training learns from it until it has a weight."""
    file, wanted = _file(sent), _settings(sent)
    same = b"\0".join(
        [file.filename.encode(), hashlib.sha256(file.content).digest(), wanted.model_dump_json().encode()]
    )
    with ExitStack() as stack:
        with without_connection_in_thread(session):  # a large file takes a while to read
            found = stack.enter_context(stored(file, wanted))
        return once(
            session,
            user,
            request,
            same,
            lambda: _json(session, service.add(session, user, wanted, found)),
            status=201,
        )


@router.patch("/sources/{source_id:int}", response_model=SourceJson, dependencies=[TAKES_KEY])
def weigh_source(request: Request, session: DbSession, user: ApiAdmin, source_id: int, change: WeightIn) -> Response:
    """Set how much of a source the trainings learn from that start from now on. A run that has begun keeps what it has."""
    found = queries.access_source(session, user, source_id)

    def work() -> SourceJson:
        service.weigh(session, user, found, change.weight)
        return _json(session, found)

    return once(session, user, request, change.model_dump_json().encode(), work)


@router.post("/sources/{source_id:int}/withdraw", response_model=SourceJson, dependencies=[TAKES_KEY])
def withdraw_source(request: Request, session: DbSession, user: ApiAdmin, source_id: int) -> Response:
    """No training that starts later learns from it. What learnt from it already keeps saying so."""
    found = queries.access_source(session, user, source_id)

    def work() -> SourceJson:
        service.withdraw(session, user, found)
        return _json(session, found)

    return once(session, user, request, b"", work)


def _file(sent: Sent) -> SentFile:
    if sent.file is None or not sent.file.filename:
        raise BadInput(_("Send the rows as a file in the field “file”."), errors=[_wrong("file", "No file was sent.")])
    return sent.file


def _settings(sent: Sent) -> SourceIn:
    unknown = sent.fields.keys() - {"settings"}
    if unknown:
        raise BadInput(_("Send only “file” and “settings”."), errors=[_wrong(min(unknown), "There is no such field.")])
    try:
        return SourceIn.model_validate_json(sent.fields.get("settings", ""))
    except ValidationError as error:
        errors = [_wrong(f"settings.{name}".rstrip("."), said) for name, said in field_errors(error).items()]
        raise BadInput(_("Please correct the settings; they are one JSON object."), errors=errors) from None


def _wrong(field: str, message: str) -> dict[str, str]:
    return {"loc": field, "msg": message}


def _json(session: Session, source: Source) -> SourceJson:
    session.flush()
    session.refresh(source)
    return SourceJson.model_validate(source)
