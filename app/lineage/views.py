"""HTML of what has a lineage: checkpoints, snapshots, and where an annotation went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role
from app.findings.queries import Shown, shown_to_staff
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.kernel.paging import Cursor
from app.kernel.settings import get_settings
from app.lineage import graph, queries
from app.lineage.graph import Picture
from app.lineage.marks import WORDS, Mark, marks
from app.lineage.queries import AnnotationLineage, CheckpointLineage, SnapshotLineage, SourceUse
from app.preferences import treated
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot, SnapshotState
from app.preferences.queries import access_snapshot, names_models_too_early
from app.registry import queries as registry
from app.registry.models import CheckpointState, External
from app.registry.queries import CheckpointRow, EngineView
from app.registry.service import SAMPLED_KINDS
from app.rounds import choosing, discarding, mixing, nominating
from app.rounds.choosing import Chosen
from app.rounds.mixing import Mix
from app.rounds.models import TrainingRun
from app.shell.web import is_exchange, redirect, render
from app.sources import storing
from app.sources.models import Source
from app.sources.queries import access_source

PAGE = 50
POLL_SECONDS = 2

router = APIRouter()


@dataclass(frozen=True)
class CheckpointsPage:
    """Context of ``registry/checkpoints.html``."""

    rows: Sequence[CheckpointRow]
    marks: Mapping[int, Mark]
    next: int | None
    first: bool
    engine: EngineView
    engines: Sequence[EngineView]
    """Each, where there are several."""
    may_write: bool


@dataclass(frozen=True)
class CheckpointPage:
    """Context of ``registry/checkpoint.html``."""

    row: CheckpointRow
    lineage: CheckpointLineage
    picture: Picture
    mark_words: str
    may_write: bool
    may_deploy: bool
    may_challenge: bool
    external: External | None


@dataclass(frozen=True)
class SnapshotPage:
    """Context of ``preferences/snapshot.html`` and of its fragment."""

    snapshot: Snapshot
    words: str
    lineage: SnapshotLineage
    picture: Picture
    mixes: Sequence[tuple[TrainingRun, Mix]]
    """What runs read of it, by capability, language and source."""
    chosen: Chosen | None
    treated: Sequence[str]
    """What became of private and unsafe texts in it."""
    poll_seconds: int | None
    may_download: bool


@dataclass(frozen=True)
class SourcePage:
    """Context of ``sources/source.html``; ``example`` is None where its file is gone."""

    source: Source
    example: Mapping[str, Any] | None
    uses: Sequence[SourceUse]
    may_write: bool


@dataclass(frozen=True)
class AnnotationPage:
    """Context of ``lineage/annotation.html``."""

    lineage: AnnotationLineage
    picture: Picture
    found: Mapping[str, Shown]
    """What checks found of its responses, by position, and of its edit."""
    may_retract: bool


@router.get("/checkpoints")
def checkpoints(request: Request, session: DbSession, user: Reviewer, before: Cursor = None) -> HTMLResponse:
    """Every checkpoint, newest first, with its place in the rotation and what retractions made of it."""
    page = registry.list_checkpoints(session, before=before, limit=PAGE)
    url = get_settings().engine_url
    engine, engines = registry.engine_view(session, url), registry.engines_view(session, url)
    may_write = user.role is Role.ADMIN
    context = CheckpointsPage(page.rows, marks(session), page.next, before is None, engine, engines, may_write)
    return render(request, "registry/checkpoints.html", context)


@router.get("/checkpoints/{checkpoint_id}")
def checkpoint(request: Request, session: DbSession, user: Reviewer, checkpoint_id: int) -> HTMLResponse:
    """One checkpoint: metrics, lineage, rotation."""
    found = registry.access_checkpoint(session, user, checkpoint_id)
    row, lineage = registry.checkpoint_row(session, found), queries.checkpoint_lineage(session, user, found)
    admin = user.role is Role.ADMIN
    sampled = found.kind in SAMPLED_KINDS and found.state is CheckpointState.READY and not found.is_imported
    page = CheckpointPage(
        row=row,
        lineage=lineage,
        picture=graph.of_checkpoint(found, lineage),
        mark_words=_(WORDS[lineage.mark]) if lineage.mark else "",
        may_write=admin,
        may_deploy=admin and sampled and not row.deployments,
        may_challenge=admin and nominating.offered(session, found),
        external=session.get(External, found.id),
    )
    return render(request, "registry/checkpoint.html", page)


@router.get("/snapshots/{snapshot_id}")
def snapshot_page(request: Request, session: DbSession, user: Reviewer, snapshot_id: int) -> HTMLResponse:
    """One snapshot: its hash, its counts, and what was made of it."""
    snapshot = access_snapshot(session, user, snapshot_id)
    lineage = queries.snapshot_lineage(session, snapshot.id)
    page = SnapshotPage(
        snapshot=snapshot,
        words=ExportFilter.model_validate(snapshot.filter).words(),
        lineage=lineage,
        picture=graph.of_snapshot(snapshot, lineage),
        mixes=mixing.of_snapshot(session, snapshot.id),
        chosen=choosing.of_snapshot(session, snapshot.id),
        treated=treated.of_snapshot(snapshot),
        poll_seconds=POLL_SECONDS if snapshot.state is SnapshotState.BUILDING else None,
        may_download=not names_models_too_early(session, user, snapshot),
    )
    return render(request, f"preferences/{'_snapshot' if is_exchange(request) else 'snapshot'}.html", page)


@router.get("/sources/{source_id}")
def source(request: Request, session: DbSession, user: Reviewer, source_id: int) -> HTMLResponse:
    """One source: what it is, its first row, and what learnt from it."""
    found = access_source(session, user, source_id)
    admin = user.role is Role.ADMIN
    page = SourcePage(found, storing.first_row(found), queries.source_uses(session, found), may_write=admin)
    return render(request, "sources/source.html", page)


@router.post("/sources/{source_id}/file/delete")
def delete_source_file(request: Request, session: DbSession, user: Admin, source_id: int) -> Response:
    """Delete the file of a withdrawn source that no run needs any more."""
    found = access_source(session, user, source_id)
    discarding.delete_file(session, user, found)
    return redirect(request, f"/sources/{found.id}", flash=_("The file of “{name}” is deleted.", name=found.name))


@router.get("/lineage/annotations/{annotation_id}")
def annotation(request: Request, session: DbSession, user: Reviewer, annotation_id: int) -> HTMLResponse:
    """Where an annotation went."""
    lineage = queries.access_annotation(session, user, annotation_id)
    found = {name: shown for name, shown in shown_to_staff(session, lineage.annotation).items() if shown.chips}
    page = AnnotationPage(lineage, graph.of_annotation(lineage), found, user.role is Role.ADMIN)
    return render(request, "lineage/annotation.html", page)
