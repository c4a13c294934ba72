"""JSON of the rotation, for admins: who joins and leaves it, external models, and the engine."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiAdmin, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.numbers import Truth
from app.kernel.settings import get_settings
from app.registry import acts, queries
from app.registry.forms import ExternalForm
from app.registry.models import EngineState

router = APIRouter(tags=["checkpoints"])


class Placed(BaseModel):
    """What an act on a checkpoint was about; ``GET /checkpoints/{id}`` says how it stands now."""

    checkpoint_id: int = Field(examples=[5])
    name: str = Field(examples=["policy-r1-a1b2c3d4"])
    champion: str | None = Field(
        default=None, examples=[None], description="The champion that followed, where the act changed it."
    )


class TrainingIn(BaseModel):
    """Whether an external model's answers may be trained on."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"may_train": True}]})

    may_train: Truth


class OneEngineJson(BaseModel):
    """What the last probe of one of several engines found."""

    model_config = ConfigDict(from_attributes=True)

    place: str = Field(examples=["10.0.0.5:8000"], description="Its host and port.")
    state: EngineState = Field(examples=["ready"])
    since: datetime | None
    version: str | None = Field(examples=["0.12.0"])
    error: str | None = Field(examples=[None])


class EngineJson(BaseModel):
    """What the last probe of the engine found; of several, whether any answers."""

    model_config = ConfigDict(from_attributes=True)

    state: EngineState = Field(examples=["ready"])
    since: datetime | None
    version: str | None = Field(examples=["0.12.0"])
    error: str | None = Field(examples=[None])
    engines: list[OneEngineJson] = Field(default=[], description="Each, where there are several.")


@router.post("/externals", status_code=201, response_model=Placed, dependencies=[TAKES_KEY])
def add_external(request: Request, session: DbSession, user: ApiAdmin, form: ExternalForm) -> Response:
    """Add a model of another endpoint to the rotation. Endpoints are the operator's: `CORRAL_ENDPOINTS`."""

    def work() -> Placed:
        added = acts.add_external(session, user, form)
        return Placed(checkpoint_id=added.id, name=added.name)

    return once(session, user, request, form.model_dump_json().encode(), work, status=201)


@router.post("/checkpoints/{checkpoint_id}/training", response_model=Placed, dependencies=[TAKES_KEY])
def allow_training(
    request: Request, session: DbSession, user: ApiAdmin, checkpoint_id: int, form: TrainingIn
) -> Response:
    """Note whether an external model's answers may be trained on, starting with the next run."""
    found = queries.access_checkpoint(session, user, checkpoint_id)

    def work() -> Placed:
        acts.allow_training(session, user, found, may_train=form.may_train)
        return Placed(checkpoint_id=found.id, name=found.name)

    return once(session, user, request, form.model_dump_json().encode(), work)


@router.post("/checkpoints/{checkpoint_id}/deploy", response_model=Placed, dependencies=[TAKES_KEY])
def deploy(request: Request, session: DbSession, user: ApiAdmin, checkpoint_id: int) -> Response:
    """Add a checkpoint to the rotation, beside the champion, which stays."""
    found = queries.access_checkpoint(session, user, checkpoint_id)

    def work() -> Placed:
        acts.deploy(session, user, found)
        return Placed(checkpoint_id=found.id, name=found.name)

    return once(session, user, request, b"", work)


@router.post("/deployments/{deployment_id}/end", response_model=Placed, dependencies=[TAKES_KEY])
def end(request: Request, session: DbSession, user: ApiAdmin, deployment_id: int) -> Response:
    """Remove a deployment from the rotation, except the last one."""
    deployment = queries.access_deployment(session, user, deployment_id)

    def work() -> Placed:
        successor = acts.end(session, user, deployment)
        name = successor.name if successor else None
        return Placed(checkpoint_id=deployment.checkpoint_id, name=deployment.checkpoint.name, champion=name)

    return once(session, user, request, b"", work)


@router.get("/engine", dependencies=[Depends(api_staff)])
def engine(session: DbSession) -> EngineJson:
    """Whether the engine answers, since when, and if not, why."""
    url = get_settings().engine_url
    found = EngineJson.model_validate(queries.engine_view(session, url))
    each = [OneEngineJson.model_validate(one) for one in queries.engines_view(session, url)]
    return found.model_copy(update={"engines": each})
