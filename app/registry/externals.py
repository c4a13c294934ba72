"""External models: what another endpoint serves, in the rotation beside ours, and never trained.

The operator says which endpoints there are (``CORRAL_ENDPOINTS``: addresses and keys), an admin which of their models take
part. Their answers are compared blind like all others and count on the board. Whether they may be learnt from is a note on
each; where not, every training leaves out what was judged with them.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel.errors import refused
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import get_settings
from app.registry.deployments import deploy
from app.registry.models import Checkpoint, CheckpointKind, External

log = structlog.get_logger()

UNDERSTOOD: Final = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"})
"""Of sampling what OpenAI's API names: an endpoint that we do not know may refuse anything else."""


def add_external(
    session: Session, *, name: str, endpoint: str, model: str, may_train: bool, note: str, sampling: dict[str, Any]
) -> Checkpoint:
    """A model of an endpoint, in the rotation as soon as the endpoint has answered for it.

    Raises:
        BadInput: no such endpoint is set up, or a checkpoint has that name.
    """
    if endpoint not in get_settings().endpoints:
        raise refused("endpoint", f"No endpoint called {endpoint} is set up in CORRAL_ENDPOINTS.")
    if session.scalar(select(Checkpoint.id).where(Checkpoint.name == name)) is not None:
        raise refused("name", f"A checkpoint named {name} exists. Choose another name.")
    checkpoint = Checkpoint(name=name, kind=CheckpointKind.EXTERNAL, path=endpoint)
    checkpoint.external = External(endpoint=endpoint, model=model, may_train=may_train, note=note)
    session.add(checkpoint)
    session.flush()
    deploy(session, checkpoint, sampling=sampling)
    enqueue(session, Job.RECONCILE_SERVING)
    log.info("external_added", name=name, endpoint=endpoint)
    return checkpoint


def allow_training(session: Session, checkpoint: Checkpoint, *, may_train: bool) -> bool:
    """Note whether the answers may be trained on; runs that start from now on follow it. True where that is a change."""
    external = session.get_one(External, checkpoint.id)
    changed = external.may_train is not may_train
    external.may_train = may_train
    return changed


def left_out_of_training(session: Session) -> list[str]:
    """The names of the checkpoints whose answers no training may learn from, sorted."""
    query = select(Checkpoint.name).join(External).where(External.may_train.is_(False)).order_by(Checkpoint.name)
    return list(session.scalars(query))
