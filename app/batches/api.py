"""JSON of prompts: the same services as the pages, with the errors of a file listed by line."""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.accounts.models import Role
from app.accounts.teams import NamedJson
from app.batches import appending, assigning, importing, settings
from app.batches.assigning import Assigned
from app.batches.queries import Progress, batch_progress, overdue
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor, Limit
from app.loops.queries import round_numbers
from app.prompts import importers, queries, service
from app.prompts.forms import (
    AttributeJson,
    BatchChange,
    BatchJson,
    BatchList,
    BatchSettings,
    StateChange,
    field_errors,
)
from app.prompts.import_forms import AppendedJson, AppendPreviewJson, AppendSettings, FirstJson, ImportedJson
from app.prompts.intake import ApiFile, Sent, SentFile, described
from app.prompts.models import Batch
from app.prompts.progress_json import ProgressJson

router = APIRouter(tags=["batches"])

Form = TypeVar("Form", bound=BaseModel)


_FILE = (
    f"{importers.names()}; the file's name says which. It may be packed: as gzip, "
    "with .gz behind its name, or alone in a ZIP archive."
)
_REFUSED: dict[int | str, dict[str, Any]] = {
    422: {
        "description": "The file or the settings are invalid; `errors` lists every refused line or field.",
        "content": {
            "application/problem+json": {
                "example": {
                    "type": "/api/v1/problems/bad-input",
                    "title": "This input cannot be used",
                    "status": 422,
                    "detail": "1 line is refused. Correct the file and upload it again, or choose to import the 55 "
                    "valid prompts and leave the rest out.",
                    "errors": [
                        {
                            "line": 12,
                            "reason": "ends with the assistant, so there is nothing to answer: remove the last answer",
                        }
                    ],
                }
            }
        },
    }
}


@router.post(
    "/batches",
    status_code=201,
    response_model=ImportedJson,
    responses=_REFUSED,
    openapi_extra=described(_FILE, BatchSettings, "file", "settings"),
    dependencies=[TAKES_KEY],
)
def create_batch(request: Request, session: DbSession, user: ApiAdmin, sent: ApiFile) -> Response:
    """Import a file of prompts as a new batch: all of it, or (with `leave_out_refused`) all of its valid lines."""
    file, chosen = _file(sent), _settings(sent, BatchSettings)

    def work() -> ImportedJson:
        upload = service.create_upload(session, user, file.filename, file.content)
        made = batch_json(session, [importing.confirm(session, user, upload, chosen)])[0]
        return ImportedJson(**dict(made), **dict(importing.of_file(upload.report, chosen.unnamed_model)))

    answer = once(session, user, request, _same(file, chosen), work, status=201)
    answer.headers["location"] = f"/api/v1/batches/{json.loads(bytes(answer.body))['id']}"
    return answer


@router.post(
    "/batches/{batch_id:int}/prompts",
    response_model=AppendedJson,
    responses=_REFUSED,
    openapi_extra=described(_FILE, AppendSettings),
    dependencies=[TAKES_KEY],
)
def append_prompts(request: Request, session: DbSession, user: ApiAdmin, batch_id: int, sent: ApiFile) -> Response:
    """Add a file of prompts to a batch that is not closed: all of it, or (with `leave_out_refused`) all of its valid lines.

    Prompts that the batch has already are skipped. Those without an `id` are named by their lines, with a number behind it where
    the batch has that name; an `id` of another prompt of the batch refuses its line.
    """
    batch = queries.access_batch(session, user, batch_id)
    file, chosen = _file(sent), _settings(sent, AppendSettings)

    def work() -> AppendedJson:
        made = appending.append(session, user, batch, file.filename, file.content, chosen)
        about = importing.of_file(made.report, chosen.unnamed_model)
        now = batch_json(session, [batch])[0]
        return AppendedJson(added=made.added, skipped=made.skipped, batch=now, **dict(about))

    return once(session, user, request, _same(file, chosen), work)


@router.post(
    "/batches/{batch_id:int}/prompts/preview",
    response_model=AppendPreviewJson,
    responses=_REFUSED,
    openapi_extra=described(_FILE, AppendSettings),
)
def preview_prompts(session: DbSession, user: ApiAdmin, batch_id: int, sent: ApiFile) -> AppendPreviewJson:
    """Say what adding a file of prompts to a batch would do: how many are new, known or refused, and why. Nothing is stored."""
    batch = queries.access_batch(session, user, batch_id)
    file, chosen = _file(sent), _settings(sent, AppendSettings)
    report = appending.preview(session, batch, file.filename, file.content)
    about = importing.of_file(report, chosen.unnamed_model)
    return AppendPreviewJson(
        new=report["valid"],
        known=report["known"],
        refused=report["refused"],
        first=[FirstJson.model_validate(each) for each in report["sample"]],
        **dict(about),
    )


@router.get("/batches")
def list_batches(session: DbSession, user: ApiReviewer, before: Cursor = None, limit: Limit = 25) -> BatchList:
    """Batches with their progress, newest first."""
    page = queries.list_batches(session, before=before, limit=limit)
    return BatchList(batches=batch_json(session, page.rows, by_name=user.role is Role.ADMIN), next=page.next)


@router.get("/batches/{batch_id:int}")
def get_batch(session: DbSession, user: ApiReviewer, batch_id: int) -> BatchJson:
    """One batch with its progress."""
    found = queries.access_batch(session, user, batch_id)
    return batch_json(session, [found], by_name=user.role is Role.ADMIN)[0]


@router.post("/batches/{batch_id}/state", response_model=BatchJson, dependencies=[TAKES_KEY])
def set_state(
    request: Request,
    session: DbSession,
    user: ApiAdmin,
    batch_id: int,
    change: StateChange,
) -> Response:
    """Open, pause or close a batch. Closing is final; setting the current state again changes nothing."""
    batch = queries.access_batch(session, user, batch_id)

    def work() -> BatchJson:
        service.set_state(session, user, batch, change.state)
        return batch_json(session, [batch])[0]

    return once(session, user, request, change.model_dump_json().encode(), work)


@router.patch("/batches/{batch_id:int}", response_model=BatchJson, dependencies=[TAKES_KEY])
def change_batch(request: Request, session: DbSession, user: ApiAdmin, batch_id: int, change: BatchChange) -> Response:
    """Change settings while people work. Attributes can change only until the first annotation."""
    batch = queries.access_batch(session, user, batch_id)

    def work() -> BatchJson:
        settings.change(session, user, batch, change)
        return batch_json(session, [batch])[0]

    return once(session, user, request, change.model_dump_json(exclude_unset=True).encode(), work)


def _file(sent: Sent) -> SentFile:
    if sent.file is None:
        raise BadInput(
            _("Send the prompts as a file in the field “file”."), errors=[_wrong("file", "No file was sent.")]
        )
    return sent.file


def _same(file: SentFile, chosen: BaseModel) -> bytes:
    """What was sent, for :func:`once`: not the body, because a client draws a new multipart boundary for each try."""
    return b"\0".join(
        [file.filename.encode(), hashlib.sha256(file.content).digest(), chosen.model_dump_json().encode()]
    )


def _settings(sent: Sent, form: type[Form]) -> Form:
    empty = "{}" if form is AppendSettings else ""
    unknown = sent.fields.keys() - {"settings"}
    if unknown:
        name = min(unknown)
        raise BadInput(_("Send only “file” and “settings”."), errors=[_wrong(name, "There is no such field.")])
    try:
        return form.model_validate_json(sent.fields.get("settings", empty))
    except ValidationError as error:
        errors = [_wrong(f"settings.{name}".rstrip("."), said) for name, said in field_errors(error).items()]
        raise BadInput(_("Please correct the settings; they are one JSON object."), errors=errors) from None


def _wrong(field: str, message: str) -> dict[str, str]:
    return {"loc": field, "msg": message}


def batch_json(session: Session, batches: list[Batch], *, by_name: bool = True) -> list[BatchJson]:
    """Batches as they are answered, with their progress; to admins with the names of people."""
    progress = batch_progress(session, [batch.id for batch in batches])
    rounds = round_numbers(session, {batch.round_id for batch in batches})
    assigned = assigning.of_batches(session, batches, by_name=by_name)
    late = overdue(session, [batch.id for batch in batches])
    return [
        _as_json(batch, progress[batch.id], rounds[batch.round_id], assigned[batch.id], is_late=batch.id in late)
        for batch in batches
    ]


def _named(found: list[assigning.Named]) -> list[NamedJson]:
    return [NamedJson(id=key, name=name) for key, name in found]


def _as_json(batch: Batch, progress: Progress, round_number: int, assigned: Assigned, *, is_late: bool) -> BatchJson:
    return BatchJson(
        id=batch.id,
        name=batch.name,
        state=batch.state,
        round=round_number,
        capability=batch.capability,
        language=batch.language,
        guidelines=batch.guidelines,
        task=batch.task,
        candidates_per_prompt=batch.candidates_per_prompt,
        annotators_per_prompt=batch.annotators_per_prompt,
        overlap_percent=batch.overlap_percent,
        selection=batch.selection,
        sampled_per_prompt=batch.sampled_per_prompt,
        edit_policy=batch.edit_policy,
        max_tokens=batch.max_tokens,
        guidelines_version=batch.guidelines_version,
        strength_examples=batch.strength_examples,
        attributes=[AttributeJson.model_validate(each) for each in batch.attributes],
        verify_percent=batch.verify_percent,
        gold_percent=batch.gold_percent,
        qualification_items=batch.qualification_items,
        qualification_percent=batch.qualification_percent,
        requires_tour=batch.requires_tour,
        priority=batch.priority,
        deadline=batch.deadline,
        overdue=is_late,
        quota=batch.quota,
        readers_only=batch.readers_only,
        assigned_only=assigned.restricted,
        teams=_named(assigned.teams),
        people=_named(assigned.people),
        barred=_named(assigned.barred),
        verifiers=batch.verifiers,
        required=batch.required,
        show_findings=batch.show_findings,
        sampling=batch.sampling,
        created_at=batch.created_at,
        opened_at=batch.opened_at,
        closed_at=batch.closed_at,
        progress=ProgressJson(
            prompts=progress.total,
            pending=progress.pending,
            generating=progress.generating,
            ready=progress.ready,
            unanimous=progress.unanimous,
            quarantined=progress.quarantined,
            withdrawn=progress.withdrawn,
            comparisons=progress.comparisons,
            comparisons_done=progress.done,
            comparisons_unstarted=progress.unstarted,
            checks=progress.checks,
            checks_done=progress.checks_done,
            unchecked=progress.unchecked,
        ),
    )
