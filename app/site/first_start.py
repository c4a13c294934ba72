"""What every installation has after its first start, made where it is missing.

The loop with its round 1, the base checkpoint with its two samplings in the rotation, the sample batch, and, while there
is no admin, a one-time link that makes the first. Running it again changes nothing but that link: the last one printed is the one
that works.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import Invite, Role, User
from app.accounts.service import create_invite
from app.kernel.settings import get_settings
from app.loops.service import ensure_first_loop, ensure_first_round
from app.prompts.service import load_sample
from app.registry.service import ensure_base


@dataclass(frozen=True)
class Bootstrapped:
    """What the caller must tell: the secret of the first admin's invite exists nowhere else."""

    admin_invite: str | None


def ensure(session: Session) -> Bootstrapped:
    """Make what is missing. Two at once wait for each other; the second finds everything in place."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('corral.bootstrap'))"))
    ensure_first_loop(session)
    ensure_first_round(session)
    ensure_base(session, get_settings().base_model_path)
    if get_settings().sample_batch:
        load_sample(session)
    return Bootstrapped(admin_invite=_invite_first_admin(session))


def _invite_first_admin(session: Session) -> str | None:
    if session.scalar(select(User.id).where(User.role == Role.ADMIN).limit(1)) is not None:
        return None
    session.execute(
        update(Invite)
        .where(Invite.role == Role.ADMIN, Invite.created_by_id.is_(None), Invite.used_at.is_(None))
        .values(expires_at=func.now())
    )
    return create_invite(session, role=Role.ADMIN)
