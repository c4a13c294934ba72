"""External models: what another endpoint serves, in the rotation beside ours, and never trained.

The operator says which endpoints there are (``CORRAL_ENDPOINTS``: addresses and keys), an admin which of their models take
part. Their answers are compared blind like all others and count on the board. Whether they may be learnt from is a note on
each; where not, every training leaves out what was judged with them.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.kernel.errors import refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings
from app.registry.deployments import deploy
from app.registry.models import Checkpoint, CheckpointKind, Deployment, External, LoadState

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
        raise refused("endpoint", _("No endpoint called {name} is set up in CORRAL_ENDPOINTS.", name=endpoint))
    if session.scalar(select(Checkpoint.id).where(Checkpoint.name == name)) is not None:
        raise refused("name", _("A checkpoint named {name} exists. Choose another name.", name=name))
    checkpoint = Checkpoint(name=name, kind=CheckpointKind.EXTERNAL, path=endpoint)
    checkpoint.external = External(endpoint=endpoint, model=model, may_train=may_train, note=note)
    session.add(checkpoint)
    session.flush()
    deploy(session, checkpoint, sampling=sampling)
    enqueue(session, Job.RECONCILE_SERVING)
    log.info("external_added", name=name, endpoint=endpoint)
    return checkpoint


# ── Known by imported responses ──────────────────────────────────────────────────────────────────────────────────────
def author(session: Session, name: str, *, label: str, may_train: bool, note: str) -> tuple[Deployment, bool]:
    """The deployment that imported responses of the model ``name`` belong to, never in rotation; and whether the model is new.

    A file that names one of our own checkpoints cannot show that it wrote them: its answers are those of a model of that name
    with a note, and no evidence in a contest.

    Raises:
        BadInput: the model is known, and whether its answers may be trained on is known to be otherwise.
    """
    wait_for_turn(session, "checkpoints.imported")
    known = session.scalar(select(Checkpoint).where(Checkpoint.name == name))
    if known is not None and known.kind is not CheckpointKind.EXTERNAL:
        return author(session, f"{name} ({label})", label=label, may_train=may_train, note=note)
    new = known is None
    if known is None:
        known = Checkpoint(name=name, kind=CheckpointKind.EXTERNAL, path="")
        known.external = External(endpoint="", model=name, may_train=may_train, note=note)
        session.add(known)
        session.flush()
        log.info("external_imported", name=name)
    elif session.get_one(External, known.id).may_train is not may_train:
        message = (
            _(
                "The answers of {name} may not be trained on, as its page says, and this import says that they may: say the "
                "same here, or change it there.",
                name=name,
            )
            if may_train
            else _(
                "The answers of {name} may be trained on, as its page says, and this import says that they may not: say the "
                "same here, or change it there.",
                name=name,
            )
        )
        raise refused("may_train", message)
    of_imports = Deployment.checkpoint_id == known.id, Deployment.label == label
    found = session.scalar(select(Deployment).where(*of_imports).order_by(Deployment.id).limit(1))
    if found is None:
        found = Deployment(
            checkpoint_id=known.id, label=label, sampling={}, load_state=LoadState.PENDING, ended_at=func.now()
        )
        session.add(found)
        session.flush()
    return found, new


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
