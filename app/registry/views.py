"""HTML of the registry: what changes the rotation, and the engine's banner. Its pages are those of the lineage, above it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import Admin, admin, reviewer
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.registry import acts, queries
from app.registry.forms import ExternalForm
from app.registry.queries import EngineView
from app.shell.web import redirect, render

router = APIRouter()


@dataclass(frozen=True)
class EngineFragment:
    """Context of ``registry/_engine.html``."""

    engine: EngineView


@dataclass(frozen=True)
class ExternalPage:
    """Context of ``registry/external.html``."""

    endpoints: Sequence[str]
    form: ExternalForm | None = None
    errors: dict[str, str] = field(default_factory=dict)


@router.get("/externals/new", dependencies=[Depends(admin)])
def new_external(request: Request) -> HTMLResponse:
    """The form for a model of another endpoint."""
    return render(request, "registry/external.html", ExternalPage(sorted(get_settings().endpoints)))


@router.post("/externals")
def add_external(request: Request, session: DbSession, user: Admin, form: Annotated[ExternalForm, Form()]) -> Response:
    """Add a model of another endpoint to the rotation."""
    try:
        added = acts.add_external(session, user, form)
    except BadInput as wrong:
        errors = wrong.by_field
        page = ExternalPage(sorted(get_settings().endpoints), form, errors)
        return render(request, "registry/external.html", page, status=422)
    said = _("{name} joins the rotation once {endpoint} answers for it.", name=added.name, endpoint=form.endpoint)
    return redirect(request, f"/checkpoints/{added.id}", flash=said)


@router.post("/checkpoints/{checkpoint_id}/training")
def allow_training(
    request: Request, session: DbSession, user: Admin, checkpoint_id: int, may_train: Annotated[bool, Form()]
) -> Response:
    """Note whether an external model's answers may be trained on."""
    found = queries.access_checkpoint(session, user, checkpoint_id)
    acts.allow_training(session, user, found, may_train=may_train)
    said = (
        _("Answers of {name} may be trained on, starting with the next run.", name=found.name)
        if may_train
        else _("Answers of {name} are left out of every training that starts from now on.", name=found.name)
    )
    return redirect(request, f"/checkpoints/{found.id}", flash=said)


@router.post("/checkpoints/{checkpoint_id}/deploy")
def deploy(request: Request, session: DbSession, user: Admin, checkpoint_id: int) -> Response:
    """Add a checkpoint to the rotation. The champion stays."""
    found = queries.access_checkpoint(session, user, checkpoint_id)
    acts.deploy(session, user, found)
    said = _(
        "{name} is in rotation; it will be sampled beside the champion once the engine has loaded it.", name=found.name
    )
    return redirect(request, f"/checkpoints/{found.id}", flash=said)


@router.post("/deployments/{deployment_id}/end")
def end(request: Request, session: DbSession, user: Admin, deployment_id: int) -> Response:
    """Remove a deployment from the rotation, except the last one. If that changes the champion, page and log say so."""
    deployment = queries.access_deployment(session, user, deployment_id)
    successor = acts.end(session, user, deployment)
    name = deployment.checkpoint.name
    said = _("{name} ({label}) was removed from the rotation.", name=name, label=deployment.label)
    if successor is not None:
        said = _(
            "{name} was removed from the rotation. {successor} is the champion now.",
            name=name,
            successor=successor.name,
        )
    return redirect(request, f"/checkpoints/{deployment.checkpoint_id}", flash=said)


@router.get("/engine", dependencies=[Depends(reviewer)])
def engine(request: Request, session: DbSession) -> HTMLResponse:
    """The banner's content: nothing while the engine answers."""
    view = queries.engine_view(session, get_settings().engine_url)
    return render(request, "registry/_engine.html", EngineFragment(view))
