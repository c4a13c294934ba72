"""A policy that no training of this installation made challenges the champion, as the policy of the round that collects.

That round then has a policy without a training, and the next one begins to collect; nothing is measured by a program before, for
there is no reward model of its own. People compare it with the champion, blind, and the gate's rules decide.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel.errors import Conflict
from app.kernel.locales import gettext as _
from app.loops import service as loops
from app.loops.models import Round
from app.loops.queries import challenging_round, current_round
from app.registry.appointments import appointed
from app.registry.deployments import check_sampled
from app.registry.models import Checkpoint, CheckpointKind, LoopRole
from app.rounds import contests, service
from app.rounds.models import Contest, TrainingRun
from app.rounds.readiness import under_way


def offered(session: Session, checkpoint: Checkpoint) -> bool:
    """Whether it could challenge the champion now."""
    current = current_round(session)
    try:
        if current is not None:
            _check(session, current, checkpoint)
    except Conflict:
        return False
    return current is not None


def challenge(session: Session, user: User, checkpoint: Checkpoint) -> Contest:
    """Let people compare a policy that was trained elsewhere with the champion.

    Raises:
        Conflict: it is no such policy or cannot be served, a round is training or checked, or another one is in contest.
    """
    current = loops.lock_current_round(session)
    _check(session, current, checkpoint)
    accounts.audit(session, user, "checkpoint.challenge", "checkpoint", checkpoint.id, round=current.number)
    service.challenge(session, current, checkpoint)
    return contests.open_gate(session, current, checkpoint)


def _check(session: Session, current: Round, checkpoint: Checkpoint) -> None:
    if checkpoint.kind is not CheckpointKind.POLICY:
        raise Conflict(
            _("{name} is no policy: only an adapter that answers can challenge the champion.", name=checkpoint.name)
        )
    check_sampled(checkpoint)
    champion = appointed(session, LoopRole.CHAMPION)
    if champion is not None and champion.id == checkpoint.id:
        raise Conflict(_("{name} is the champion already.", name=checkpoint.name))
    if session.scalar(select(TrainingRun.id).where(TrainingRun.checkpoint_id == checkpoint.id).limit(1)):
        raise Conflict(
            _("{name} was trained here: the checks of its round say whether it may challenge.", name=checkpoint.name)
        )
    if busy := under_way(current, challenging_round(session)):
        raise Conflict(busy)
