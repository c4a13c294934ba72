"""HTML of prompts: batches, and the upload with its preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import ValidationError

from app.accounts.access import Admin, Reviewer, admin
from app.accounts.models import Role
from app.batches import importing
from app.batches.assign_form import AssignForm, AssignSection, section
from app.batches.assigning import Assigned, of_batches
from app.batches.form_values import of_batch, suggested
from app.batches.queries import ImportedModel, Progress, batch_progress, imported_models, overdue
from app.batches.which import Wanted
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.paging import Cursor, Page
from app.kernel.settings import get_settings
from app.loops.queries import round_numbers
from app.prompts import documents, importers, queries, service
from app.prompts.documents import ENDINGS, MOST_BYTES, Listed
from app.prompts.forms import BatchSettings, field_errors, with_examples
from app.prompts.intake import AdminFile, AdminForm
from app.prompts.models import (
    Batch,
    BatchState,
    BatchTask,
    PairSelection,
    Prompt,
    PromptState,
    Upload,
)
from app.prompts.queries import ALL, Share, Which
from app.prompts.reach import sentences
from app.prompts.verifiers import known
from app.registry.queries import EngineView, engine_view
from app.shell.posted import unknown
from app.shell.web import redirect, render
from app.shell.zones import zone_of

router = APIRouter()


@dataclass(frozen=True)
class BatchesPage:
    """Context of ``prompts/batches.html``."""

    batches: list[Batch]
    progress: dict[int, Progress]
    assigned: dict[int, Assigned]
    overdue: set[int]
    rounds: dict[int, int]
    uploads: list[Upload]
    next: int | None
    first: bool
    may_write: bool
    formats: str


@dataclass(frozen=True)
class UploadPage:
    """Context of ``prompts/new.html``."""

    batch: Batch | None
    """The one that gets more prompts; None: the file becomes a batch."""
    errors: dict[str, str]
    unit: str
    refused: list[dict[str, Any]]
    """The first refused lines of a file that has too many of them."""
    limit_mib: int
    prompt_limit: int
    formats: str
    endings: str
    accepted: str


@dataclass(frozen=True, kw_only=True)
class SettingsFields:
    """What the fields of a batch's settings take, on the preview of a file and on the batch's page."""

    values: dict[str, str]
    """The settings as text; as typed, where something is wrong with them."""
    errors: dict[str, str]
    unseen: list[str]
    """What of the prompts the model does not see, by the template in service at the preview or the import."""
    there_are: tuple[str, ...] = field(default_factory=known)
    """The names of the verifiers."""
    selections: tuple[PairSelection, ...] = tuple(PairSelection)
    tasks: tuple[BatchTask, ...] = tuple(BatchTask)


@dataclass(frozen=True, kw_only=True)
class PreviewPage(SettingsFields):
    """Context of ``prompts/preview.html``."""

    upload: Upload
    twin: Batch | None
    batch: Batch | None
    """The one that the file holds more prompts for; None where it becomes one."""


@dataclass(frozen=True, kw_only=True)
class ProgressFragment:
    """Context of ``prompts/_progress.html``."""

    batch: Batch
    progress: Progress
    engine: EngineView | None
    poll_seconds: int | None
    quarantined: Page[Prompt]
    may_write: bool


@dataclass(frozen=True, kw_only=True)
class BatchPage(ProgressFragment, SettingsFields):
    """Context of ``prompts/batch.html``."""

    round: int
    prompts: Page[Prompt]
    which: Which
    shares: list[Share]
    first: bool
    guidelines: str
    documents: Sequence[Listed]
    imported: Sequence[ImportedModel]
    """Whose responses came in its file; empty for everyone but admins."""
    searched: bool
    """Whether a prompt has the tool that finds them."""
    assign: AssignSection
    most_bytes: int = MOST_BYTES
    endings: Sequence[str] = ENDINGS


# ── Upload and preview ───────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/batches/new", dependencies=[Depends(admin)])
def new_batch(request: Request) -> HTMLResponse:
    """The form that takes a file."""
    return upload_page(request)


@router.post("/batches/new")
def upload(request: Request, session: DbSession, user: Admin, sent: AdminFile) -> Response:
    """Take a file and show its preview; a file that cannot be used is answered beside the field."""
    unknown(set(sent.fields))
    if sent.file is None or not sent.file.filename:
        return upload_page(request, BadInput(_("Choose a file first.")))
    try:
        made = service.create_upload(session, user, sent.file.filename, sent.file.content)
    except BadInput as error:
        return upload_page(request, error)
    return redirect(request, f"/uploads/{made.id}")


@router.get("/uploads/{upload_id}")
def preview(request: Request, session: DbSession, user: Admin, upload_id: int) -> Response:
    """What is in the file, what will be left out, and the settings of the batch to be."""
    found = queries.access_upload(session, user, upload_id)
    if found.batch_id is not None:
        return redirect(request, f"/batches/{found.batch_id}")
    if "for_batch" in found.report:
        batch = queries.access_batch(session, user, found.report["for_batch"])
        return preview_page(request, session, found, {"unnamed_model": "unnamed"}, {}, batch=batch)
    return preview_page(request, session, found, suggested(found), {})


@router.post("/uploads/{upload_id}/confirm")
def confirm(request: Request, session: DbSession, user: Admin, upload_id: int, sent: AdminForm) -> Response:
    """Create the batch. A second click gets the same batch; a wrong setting is answered beside its field."""
    found = queries.access_upload(session, user, upload_id)
    try:
        batch = importing.confirm(
            session, user, found, BatchSettings.model_validate(with_examples(all_if_empty(sent.fields)))
        )
    except ValidationError as error:
        return preview_page(request, session, found, sent.fields, field_errors(error))
    except BadInput as error:
        return preview_page(request, session, found, sent.fields, beside(error))
    enough = "prompts" if batch.task is BatchTask.STEPS else "ready"
    said = _("Its responses are being generated.")
    if batch.task is BatchTask.WRITE:
        said = _("Open it, and people can write.")
    elif found.report.get("responses", {}).get(enough) == found.report["valid"]:
        said = _("Its responses came with it. Open it, and people can judge.")
    return redirect(
        request, f"/batches/{batch.id}", flash=_("“{name}” is imported. {said}", name=batch.name, said=said)
    )


@router.post("/uploads/{upload_id}/discard")
def discard(request: Request, session: DbSession, user: Admin, upload_id: int) -> Response:
    """Forget the file."""
    found = queries.access_upload(session, user, upload_id)
    batch_id = found.report.get("for_batch")
    service.discard_upload(session, user, found)
    back = f"/batches/{batch_id}" if batch_id else "/batches"
    return redirect(request, back, flash=_("File discarded; nothing was imported."))


# ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/batches")
def batches(request: Request, session: DbSession, user: Reviewer, before: Cursor = None) -> HTMLResponse:
    """All batches, newest first, with their progress."""
    page = queries.list_batches(session, before=before)
    context = BatchesPage(
        batches=page.rows,
        progress=batch_progress(session, [batch.id for batch in page.rows]),
        assigned=of_batches(session, page.rows, by_name=user.role is Role.ADMIN),
        overdue=overdue(session, [batch.id for batch in page.rows]),
        rounds=round_numbers(session, {batch.round_id for batch in page.rows}),
        uploads=queries.unconfirmed_uploads(session) if user.role is Role.ADMIN and before is None else [],
        next=page.next,
        first=before is None,
        may_write=user.role is Role.ADMIN,
        formats=importers.names(),
    )
    return render(request, "prompts/batches.html", context)


@router.get("/batches/{batch_id}")
def batch_page(
    request: Request,
    session: DbSession,
    user: Reviewer,
    batch_id: int,
    which: Wanted,
    after: Cursor = None,
) -> HTMLResponse:
    """One batch: progress, what it can become, guidelines, quarantined prompts, and all prompts by page."""
    batch = queries.access_batch(session, user, batch_id)
    return shown_batch(request, session, user.role is Role.ADMIN, batch, after=after, which=which)


@router.get("/batches/{batch_id}/progress")
def progress(request: Request, session: DbSession, user: Reviewer, batch_id: int) -> HTMLResponse:
    """The part of the batch's page that changes; it stops polling once nothing will change."""
    batch = queries.access_batch(session, user, batch_id)
    return render(request, "prompts/_progress.html", _progress(session, batch, may_write=user.role is Role.ADMIN))


@router.post("/batches/{batch_id}/open")
def open_batch(request: Request, session: DbSession, user: Admin, batch_id: int) -> Response:
    """Let annotators in."""
    return _change_state(request, session, user, batch_id, BatchState.OPEN, _("Annotators can work on this batch now."))


@router.post("/batches/{batch_id}/pause")
def pause_batch(request: Request, session: DbSession, user: Admin, batch_id: int) -> Response:
    """Stop handing out work, for now."""
    said = _("Paused. No new work is handed out; open the batch again whenever you like.")
    return _change_state(request, session, user, batch_id, BatchState.PAUSED, said)


@router.post("/batches/{batch_id}/close")
def close_batch(request: Request, session: DbSession, user: Admin, batch_id: int) -> Response:
    """Close a batch permanently."""
    said = _("Closed. Its annotations are kept and used.")
    return _change_state(request, session, user, batch_id, BatchState.CLOSED, said)


@router.post("/batches/{batch_id}/retry")
def retry_batch(request: Request, session: DbSession, user: Admin, batch_id: int) -> Response:
    """Try all quarantined prompts of the batch again."""
    batch = queries.access_batch(session, user, batch_id)
    count = service.retry_quarantined(session, user, batch)
    return redirect(
        request,
        f"/batches/{batch.id}",
        flash=_("{n} quarantined prompts will be tried again.", n=number(count)),
    )


def all_if_empty(fields: dict[str, str]) -> dict[str, Any]:
    """An empty field of verifiers stands for all of them."""
    return {name: None if name == "verifiers" and not text.strip() else text for name, text in fields.items()}


# ── Contexts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def upload_page(
    request: Request,
    error: BadInput | None = None,
    *,
    batch: Batch | None = None,
) -> HTMLResponse:
    """The page that takes a file: of a new batch, or of more prompts for ``batch``; with what is wrong with it."""
    settings = get_settings()
    context = UploadPage(
        batch=batch,
        errors={"file": error.message} if error else {},
        unit=error.extra.get("unit", "line") if error else "line",
        refused=error.extra.get("errors", []) if error else [],
        limit_mib=settings.upload_limit_bytes // (1024 * 1024),
        prompt_limit=settings.prompt_limit_chars,
        formats=importers.names(),
        endings=importers.endings(),
        accepted=importers.accepted(),
    )
    return render(request, "prompts/new.html", context, status=422 if context.errors else 200)


def preview_page(
    request: Request,
    session: DbSession,
    upload: Upload,
    values: dict[str, str],
    errors: dict[str, str],
    *,
    batch: Batch | None = None,
) -> HTMLResponse:
    """What is in a file that becomes a batch, or more of ``batch``; with the settings as typed and what is wrong with them."""
    context = PreviewPage(
        upload=upload,
        twin=None if batch else queries.batch_of_file(session, upload.sha256),
        batch=batch,
        values=values,
        errors=errors,
        unseen=sentences(upload.report),
    )
    return render(request, "prompts/preview.html", context, status=422 if errors else 200)


def beside(error: BadInput) -> dict[str, str]:
    """The error by the field that it names, else at the top of the form."""
    named = [one for one in error.extra.get("errors", []) if "loc" in one]
    return {one["loc"]: one["msg"] for one in named} or {"form": error.message}


def _change_state(
    request: Request, session: DbSession, user: Admin, batch_id: int, target: BatchState, said: str
) -> Response:
    batch = queries.access_batch(session, user, batch_id)
    service.set_state(session, user, batch, target)
    return redirect(request, f"/batches/{batch.id}", flash=said)


def _progress(session: DbSession, batch: Batch, *, may_write: bool) -> ProgressFragment:
    progress = batch_progress(session, [batch.id])[batch.id]
    engine = engine_view(session, get_settings().engine_url) if progress.unsettled else None
    quarantined = queries.list_prompts(session, batch, Which(PromptState.QUARANTINED), limit=10)
    return ProgressFragment(
        batch=batch,
        progress=progress,
        engine=engine,
        poll_seconds=_poll_seconds(batch, progress),
        quarantined=quarantined,
        may_write=may_write,
    )


def _poll_seconds(batch: Batch, progress: Progress) -> int | None:
    """The polling interval: short while prompts are generated, long while people work, else none."""
    moves = progress.generating or (progress.unsettled and not progress.far_ahead)
    if batch.state in {BatchState.PREPARING, BatchState.OPEN} and moves:
        return 2
    if progress.checks_done < progress.checks:
        return 2
    people_work = batch.state is BatchState.OPEN and progress.done < progress.comparisons
    return 15 if people_work else None


def shown_batch(
    request: Request,
    session: DbSession,
    may_write: bool,  # noqa: FBT001 - one page, two kinds of reader
    batch: Batch,
    *,
    after: int | None = None,
    which: Which = ALL,
    sent: dict[str, str] | AssignForm | None = None,
    errors: dict[str, str] | None = None,
) -> HTMLResponse:
    """A batch's page; with what was sent and what is wrong with it, of its settings or of whom it is assigned to."""
    assigns = sent if isinstance(sent, AssignForm) else None
    typed = sent if isinstance(sent, dict) else {}
    context = BatchPage(
        **vars(_progress(session, batch, may_write=may_write)),
        round=round_numbers(session, {batch.round_id})[batch.round_id],
        prompts=queries.list_prompts(session, batch, which, after=after),
        which=which,
        shares=queries.shares(session, batch),
        first=after is None,
        guidelines=typed.get("guidelines", batch.guidelines),
        values=of_batch(batch) | typed,
        errors={} if assigns else errors or {},
        unseen=sentences(queries.unseen_at_import(session, batch)),
        documents=documents.of_batch(session, batch),
        imported=imported_models(session, batch) if may_write else [],
        searched=documents.searched(session, batch),
        assign=section(
            session, batch, zone_of(request), by_name=may_write, sent=assigns, errors=errors if assigns else None
        ),
    )
    return render(request, "prompts/batch.html", context, status=422 if errors else 200)
