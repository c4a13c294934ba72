"""The web application: middleware, routers, error handlers. ``uvicorn --factory app.site.main:create_app``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

import app.accounts.api
import app.accounts.audit_views
import app.accounts.people_api
import app.accounts.team_api
import app.accounts.team_views
import app.accounts.views
import app.annotations.api
import app.annotations.look_views
import app.annotations.preferences_views
import app.annotations.queue_views
import app.annotations.revision_api
import app.annotations.tour_views
import app.annotations.undo_api
import app.annotations.views
import app.batches.api
import app.batches.append_views
import app.batches.assign_views
import app.batches.document_api
import app.batches.document_views
import app.batches.guideline_api
import app.batches.guideline_views
import app.batches.prompt_api
import app.batches.prompt_views
import app.batches.settings_views
import app.batches.upload_views
import app.batches.views
import app.board.api
import app.board.views
import app.candidates.live_api
import app.dashboard.views
import app.desk.api
import app.desk.team_api
import app.desk.team_views
import app.desk.views
import app.dialogues.api
import app.dialogues.views
import app.findings.api
import app.findings.views
import app.lineage.api
import app.lineage.retraction_views
import app.lineage.views
import app.playground.api
import app.playground.views
import app.preferences.api
import app.preferences.private.api
import app.preferences.private.views
import app.preferences.views
import app.quality.api
import app.quality.statistics_api
import app.quality.statistics_views
import app.quality.views
import app.registry.api
import app.registry.views
import app.rounds.api
import app.rounds.contest_api
import app.rounds.contest_views
import app.rounds.views
import app.site.tables
import app.sources.api
import app.sources.views
import app.synthesis.api
import app.synthesis.views
import app.webhooks.api
import app.webhooks.views
from app.accounts.refusals import NoteRefusals
from app.kernel import tracing
from app.kernel.settings import get_settings
from app.shell import assets, failures, logs, posted
from app.shell.bodies import BodyLimit
from app.shell.hosts import HostCheck
from app.shell.tracing import TraceRequests
from app.shell.web import OriginCheck, SecurityHeaders
from app.site import health, metrics, openapi

# A request is compared with one route after the other, so what annotators do all day comes first.
PAGES = (
    app.annotations.views.router,
    app.accounts.views.router,
    app.accounts.audit_views.router,
    app.accounts.team_views.router,
    app.registry.views.router,
    app.batches.guideline_views.router,
    app.batches.prompt_views.router,
    app.batches.upload_views.router,
    app.batches.views.router,
    app.batches.append_views.router,
    app.batches.settings_views.router,
    app.batches.assign_views.router,
    app.batches.document_views.router,
    app.synthesis.views.router,
    app.annotations.queue_views.router,
    app.annotations.tour_views.router,
    app.annotations.look_views.router,
    app.annotations.preferences_views.router,
    app.dialogues.views.router,
    app.findings.views.router,
    app.playground.views.router,
    app.preferences.views.router,
    app.preferences.private.views.router,
    app.sources.views.router,
    app.rounds.views.router,
    app.board.views.router,
    app.rounds.contest_views.router,
    app.lineage.views.router,
    app.lineage.retraction_views.router,
    app.quality.views.router,
    app.quality.statistics_views.router,
    app.desk.views.router,
    app.desk.team_views.router,
    app.webhooks.views.router,
    app.dashboard.views.router,
    assets.router,
    health.router,
    metrics.router,
)
API = (
    app.annotations.api.router,
    app.accounts.api.router,
    app.accounts.people_api.router,
    app.accounts.team_api.router,
    app.accounts.audit_views.api,
    app.batches.api.router,
    app.batches.document_api.router,
    app.batches.prompt_api.router,
    app.batches.guideline_api.router,
    app.synthesis.api.router,
    app.annotations.revision_api.router,
    app.annotations.undo_api.router,
    app.candidates.live_api.router,
    app.dialogues.api.router,
    app.findings.api.router,
    app.playground.api.router,
    app.preferences.api.router,
    app.preferences.private.api.router,
    app.sources.api.router,
    app.rounds.api.router,
    app.board.api.router,
    app.rounds.contest_api.router,
    app.lineage.api.router,
    app.quality.api.router,
    app.quality.statistics_api.router,
    app.desk.api.router,
    app.desk.team_api.router,
    app.registry.api.router,
    app.webhooks.api.router,
)


def create_app() -> FastAPI:
    """Build the application; nothing happens at import."""
    logs.configure(json=get_settings().log_json)
    web = FastAPI(title="Corral", docs_url=None, redoc_url=None, openapi_url=None)
    for router in API:
        web.include_router(router, prefix="/api/v1")
    for router in PAGES:
        web.include_router(router, include_in_schema=False)
    web.mount("/static", StaticFiles(directory=assets.STATIC), name="static")
    openapi.install(web)
    posted.install(web)
    failures.install(web)
    # outermost last: headers, request id and log line go on everything, also on a refused origin and on a failure
    web.add_middleware(GZipMiddleware, minimum_size=800, compresslevel=6)
    web.add_middleware(BodyLimit)
    web.add_middleware(OriginCheck)
    web.add_middleware(failures.LastResort)
    web.add_middleware(NoteRefusals)
    web.add_middleware(HostCheck)
    web.add_middleware(SecurityHeaders)
    web.add_middleware(logs.RequestLog)
    if tracing.wanted():
        web.add_middleware(TraceRequests)
    return web
