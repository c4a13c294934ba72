"""Reads the body of a form under a bound, after the caller's rights are known.

FastAPI would read the whole body before the first dependency runs, so that anyone could fill the disk, and it would
answer a wrong field with a page of its own, so that everything else had to be typed again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.accounts.access import admin, api_admin
from app.kernel.db import DbSession, without_connection
from app.kernel.errors import BadInput, TooLarge
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.settings import get_settings
from app.kernel.turns import Turns
from app.prompts.forms import ASSIGNEES, MOST_ASSIGNEES
from app.shell.posted import reads_form, takes_file

UPLOADS = Turns("uploads", lambda: get_settings().database_pool_size)
"""Bodies that are read at once: a slow one keeps other uploads waiting, and nobody else."""
FORM_BYTES = 1024 * 1024
MAX_FIELDS = 50


@dataclass(frozen=True)
class SentFile:
    """A file as it was sent; the name is the sender's and means nothing until it is cleaned."""

    filename: str
    content: bytes


@dataclass(frozen=True)
class Sent:
    """The fields of a form, each once, its file if it has one, and what was ticked, where there is something to tick."""

    fields: dict[str, str]
    file: SentFile | None = None
    picked: dict[str, list[str]] = field(default_factory=dict)


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    seen = 0
    try:
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > limit:
                raise _too_large(limit)
            yield chunk
    except ClientDisconnect:  # nobody waits for the answer, and it is no fault of ours
        raise BadInput(_("The connection ended before the form was complete: send it again.")) from None


def _too_large(limit: int) -> TooLarge:
    return TooLarge(_("The upload is larger than {limit} MiB: split the file.", limit=number(limit // (1024 * 1024))))


@asynccontextmanager
async def _parsed(request: Request, limit: int, most: int) -> AsyncIterator[FormData]:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    stream = _bounded(request, limit)
    try:
        if kind == "multipart/form-data":
            parser = MultiPartParser(request.headers, stream, max_files=1, max_fields=most)
            form = await parser.parse()
        elif kind == "application/x-www-form-urlencoded":
            form = await FormParser(request.headers, stream).parse()
        else:
            raise BadInput(_("Send a form: multipart/form-data, with the file in the field “file”."))
    except MultiPartException as error:
        raise BadInput(_("The form cannot be read: {message}", message=error.message)) from None
    try:
        yield form
    finally:
        await form.close()


async def read_form(request: Request, limit: int, picked: Sequence[str] = ()) -> Sent:
    """The form in the body of ``request``; :class:`BadInput` or :class:`TooLarge` when it cannot be used.

    Fields whose names are ``picked`` may come more than once; they are in :attr:`Sent.picked` alone.
    """
    async with _parsed(request, limit, MAX_FIELDS + len(picked) * MOST_ASSIGNEES) as form:
        fields: dict[str, str] = {}
        ticks: dict[str, list[str]] = {name: [] for name in picked}
        file: SentFile | None = None
        for name, value in form.multi_items():
            if name in ticks and isinstance(value, str):
                ticks[name].append(value)
                continue
            if name in fields or (name == "file" and file):
                raise BadInput(_("The field “{name}” was sent twice: send it once.", name=name[:60]))
            if isinstance(value, UploadFile):
                if name != "file":
                    raise BadInput(_("Send the file in the field “file”, not in “{name}”.", name=name[:60]))
                file = SentFile(value.filename or "", await value.read())
            else:
                fields[name] = value
        if len(fields) > MAX_FIELDS:
            raise BadInput(_("The form has more than {max_fields} fields.", max_fields=MAX_FIELDS))
    return Sent(fields, file, ticks)


async def _read_aside(request: Request, session: DbSession, limit: int, picked: Sequence[str] = ()) -> Sent:
    """Read at the sender's pace, while pages have the connection and the turn that checked the rights."""
    async with without_connection(session):
        turn = await UPLOADS.take()
        try:
            return await read_form(request, limit, picked)
        finally:
            turn.give_back()


# The rights come first, as a dependency of the reading itself: nobody else's body is read at all.
@reads_form
@takes_file
async def _admin_file(request: Request, session: DbSession, _: Annotated[object, Depends(admin)]) -> Sent:
    return await _read_aside(request, session, get_settings().upload_limit_bytes + FORM_BYTES)


@reads_form
async def _admin_form(request: Request, session: DbSession, _: Annotated[object, Depends(admin)]) -> Sent:
    return await _read_aside(request, session, FORM_BYTES)


@reads_form
@takes_file
async def _new_batch(request: Request, session: DbSession, _: Annotated[object, Depends(admin)]) -> Sent:
    return await _read_aside(request, session, get_settings().upload_limit_bytes + FORM_BYTES, ASSIGNEES)


@reads_form
async def _batch_form(request: Request, session: DbSession, _: Annotated[object, Depends(admin)]) -> Sent:
    return await _read_aside(request, session, FORM_BYTES, ASSIGNEES)


@takes_file
async def _api_file(request: Request, session: DbSession, _: Annotated[object, Depends(api_admin)]) -> Sent:
    return await _read_aside(request, session, get_settings().upload_limit_bytes + FORM_BYTES)


AdminFile = Annotated[Sent, Depends(_admin_file)]
AdminForm = Annotated[Sent, Depends(_admin_form)]
NewBatchForm = Annotated[Sent, Depends(_new_batch)]
"""The form of a new batch with its file."""
BatchForm = Annotated[Sent, Depends(_batch_form)]
"""The same where the file is here already."""
ApiFile = Annotated[Sent, Depends(_api_file)]


def described(file: str, settings: type[BaseModel] | None = None, *required: str) -> dict[str, Any]:
    """The OpenAPI of the body of an :data:`ApiFile`: written out, because the body is read by hand.

    Args:
        file: What the file may be, in sentences.
        settings: The model of the JSON in the field ``settings``, where there is one.
        required: The fields that must be there; without any it is the file alone.
    """
    fields: dict[str, Any] = {"file": {"type": "string", "format": "binary", "description": file}}
    content: dict[str, Any] = {}
    if settings is not None:
        fields["settings"] = settings.model_json_schema(ref_template="#/components/schemas/{model}")
        fields["settings"].pop("$defs", None)  # the enums that it refers to are in the description anyway
        content["encoding"] = {"settings": {"contentType": "application/json"}}
    content["schema"] = {"type": "object", "required": list(required or ["file"]), "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}
