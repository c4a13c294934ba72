"""The playground: one message to the champion and to any other model in service, written side by side.

The ledger of the texts is :mod:`app.candidates.live`, with its quota, its stop and its pace. Nothing here reaches people
who judge, an export, or a training.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import SystemRandom
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.candidates import live, live_pace
from app.candidates.models import LiveGeneration, LiveKind
from app.kernel.errors import Conflict, NotFound, Unavailable, refused
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.playground.forms import SIDES, Ask
from app.playground.models import Trial
from app.registry.deployments import serving
from app.registry.models import Checkpoint, Deployment


def ask(session: Session, user: User, wanted: Ask) -> Trial:
    """Queue both answers. The same ``key`` gives the same trial again.

    Raises:
        BadInput: the other model is not in service, or the key was used for another message.
        Conflict: the trial that it follows is still being written, or the conversation has become too long.
        NotFound: the trial that it follows is not the user's.
        TooMany: the user's quota is used up; nothing was added.
        Unavailable: no model is in service.
    """
    stem = f"trial:{wanted.key}"
    asked = wanted.model_dump(mode="json")
    earlier = live.asked_before(session, user, f"{stem}:0", asked)
    if earlier is not None:
        return access(session, user, session.scalars(select(Trial.id).where(Trial.left_id == earlier.id)).one())
    messages = [*_before(session, user, wanted), {"role": "user", "content": wanted.message}]
    if sum(len(each["content"]) for each in messages) > get_settings().prompt_limit_chars:
        raise Conflict(_("The conversation is too long to continue: begin a new one."))
    writers = _two(session, wanted)
    with session.begin_nested():  # both, or none where the quota is for one only
        left, right = (
            live.request(
                session,
                user,
                kind=LiveKind.TRIAL,
                messages=messages,
                deployment=deployment,
                max_tokens=get_settings().live_max_tokens,
                request_key=f"{stem}:{slot}",
                asked=asked,
                slot=slot,
            )
            for slot, deployment in enumerate(writers)
        )
        trial = Trial(user_id=user.id, messages=messages, left_id=left.id, right_id=right.id, blind=wanted.blind)
        session.add(trial)
        session.flush()
    return access(session, user, trial.id)


def access(session: Session, user: User, trial_id: int) -> Trial:
    """A trial of ``user``'s own, with its answers and their models."""
    query = select(Trial).where(Trial.id == trial_id, Trial.user_id == user.id)
    for side in (Trial.left, Trial.right):
        to_deployment = joinedload(side).joinedload(LiveGeneration.deployment)
        query = query.options(to_deployment.joinedload(Deployment.checkpoint).joinedload(Checkpoint.external))
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound
    return found


def recent(session: Session, user: User, limit: int = 20) -> Sequence[Trial]:
    """The user's newest trials, newest first."""
    query = select(Trial).where(Trial.user_id == user.id, Trial.messages != [])
    return session.scalars(query.order_by(Trial.id.desc()).limit(limit)).all()


def others(session: Session) -> list[Deployment]:
    """Who can answer beside the champion, newest first; last the champion itself, as sampled again."""
    rotation = serving(session)
    newest = sorted(rotation.deployments, key=lambda each: each.id, reverse=True)
    return sorted(newest, key=lambda each: each.checkpoint_id == rotation.champion)


def reveal(session: Session, user: User, trial_id: int) -> Trial:
    """Say who wrote which; told once it stays so.

    Raises:
        Conflict: they are still writing, and who is quicker would be known with the name.
    """
    trial = access(session, user, trial_id)
    _check_written(trial)
    if trial.blind and trial.revealed_at is None:
        trial.revealed_at = session.scalar(select(func.now()))
        session.flush()
    return trial


def watch(session: Session, user: User, trial_id: int) -> live_pace.Together:
    """Both answers, to be followed at one pace."""
    trial = access(session, user, trial_id)
    return live_pace.together([trial.left, trial.right])


def is_written(trial: Trial) -> bool:
    """Whether both answers have ended, whatever became of them."""
    return not any(each.state in live.OPEN for each in (trial.left, trial.right))


def names(trial: Trial) -> list[str] | None:
    """The models left and right as their reader may know them; None while the trial is blind."""
    if trial.blind and trial.revealed_at is None:
        return None
    return [each.deployment.checkpoint.name for each in (trial.left, trial.right)]


def _before(session: Session, user: User, wanted: Ask) -> list[dict[str, Any]]:
    """What was said before the message: the system prompt, or an earlier trial with the answer that goes on."""
    if wanted.after is None:
        return [] if wanted.system is None else [{"role": "system", "content": wanted.system}]
    if wanted.system is not None:
        raise refused("system", _("The conversation has its system prompt already: begin a new one to change it."))
    trial = access(session, user, wanted.after)
    _check_written(trial)
    shown = live_pace.shown(session, (trial.left, trial.right)[SIDES.index(wanted.answer or "A")])
    if not shown.text.strip():
        raise Conflict(_("There is no text in this answer to go on from: take the other one, or ask again."))
    return [*trial.messages, {"role": "assistant", "content": shown.text}]


def _two(session: Session, wanted: Ask) -> list[Deployment]:
    """The champion's deployment and the other one; in an order that says nothing where the trial is blind."""
    champion, there = serving(session).writer, others(session)
    if champion is None:
        raise Unavailable(_("No model is loaded right now. Your message is kept; try again later."), retry_after=30)
    other = there[0] if wanted.beside is None else next((each for each in there if each.id == wanted.beside), None)
    if other is None:
        raise refused("beside", _("This model is not in service now: choose one of the list."))
    writers = [champion, other]
    if wanted.blind:
        SystemRandom().shuffle(writers)
    return writers


def _check_written(trial: Trial) -> None:
    if not is_written(trial):
        raise Conflict(_("The answers are still being written: wait for them, or stop them."), retry_after=2)
