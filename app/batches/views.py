"""HTML of batches: the list, and the page of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role
from app.batches.assign_form import AssignForm, AssignSection, section
from app.batches.assigning import Assigned, of_batches
from app.batches.form_values import of_batch
from app.batches.queries import ImportedModel, Progress, batch_progress, imported_models, overdue
from app.batches.which import Wanted
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.paging import Cursor, Page
from app.kernel.settings import get_settings
from app.loops.queries import round_numbers
from app.prompts import documents, importers, queries, service
from app.prompts.documents import ENDINGS, MOST_BYTES, Listed
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


# ── Contexts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
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
