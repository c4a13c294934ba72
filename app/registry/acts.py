"""What admins do to the rotation, with its line in the audit log: by page and by API alike."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel.errors import NotFound
from app.registry import externals, service
from app.registry.forms import ExternalForm
from app.registry.models import Checkpoint, CheckpointKind, Deployment


def add_external(session: Session, user: User, form: ExternalForm) -> Checkpoint:
    """Add a model of another endpoint to the rotation.

    Raises:
        BadInput: see :func:`app.registry.externals.add_external`.
    """
    added = externals.add_external(session, **form.model_dump(exclude={"temperature"}), sampling=form.sampling)
    about = {"endpoint": form.endpoint, "model": form.model, "may_train": form.may_train}
    accounts.audit(session, user, "checkpoint.external", "checkpoint", added.id, **about)
    return added


def allow_training(session: Session, user: User, found: Checkpoint, *, may_train: bool) -> None:
    """Note whether an external model's answers may be trained on.

    Raises:
        NotFound: the checkpoint is not external, and there is nothing to allow.
    """
    if found.kind is not CheckpointKind.EXTERNAL:
        raise NotFound
    if externals.allow_training(session, found, may_train=may_train):
        accounts.audit(session, user, "checkpoint.training", "checkpoint", found.id, may_train=may_train)


def deploy(session: Session, user: User, found: Checkpoint) -> None:
    """Add a checkpoint to the rotation. The champion stays.

    Raises:
        AppError: see :func:`app.registry.service.deploy`.
    """
    service.deploy(session, found)
    accounts.audit(session, user, "checkpoint.deploy", "checkpoint", found.id)


def end(session: Session, user: User, deployment: Deployment) -> Checkpoint | None:
    """Remove a deployment from the rotation; returns the champion that follows, where that changes it.

    Raises:
        AppError: see :func:`app.registry.service.end_deployment`.
    """
    successor = service.end_deployment(session, deployment)
    moved = {"champion": successor.name} if successor else {}
    accounts.audit(
        session, user, "checkpoint.withdraw", "checkpoint", deployment.checkpoint_id, label=deployment.label, **moved
    )
    return successor
