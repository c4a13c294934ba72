"""The ledger of live generation: texts that somebody waits for. Nothing here commits.

A generation is a row with a state; the message that rings for it, and the stream that carries its text, may be lost. A
worker holds a row by a lease and a fencing token; a row whose worker is gone is queued again, and after the last try it
fails with a reason. One that is put back because the engine is away waits, but not for ever. Quota is reserved up front:
a user's open generations count with their maximum length, and every generation counts with its prompt, whatever became
of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Text, case, cast, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.models import User
from app.candidates.models import LiveGeneration, LiveKind, LiveState
from app.candidates.policy import sampling_of
from app.kernel.errors import BadInput, NotFound, TooMany
from app.kernel.fingerprint import fingerprint
from app.kernel.jobs import Job, enqueue
from app.kernel.live_stream import announce
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings
from app.registry.models import Checkpoint, Deployment, External

log = structlog.get_logger()

OPEN = (LiveState.QUEUED, LiveState.STREAMING)
BYTES_A_TOKEN = 4
"""About, in UTF-8, where the engine has not counted; of code and rare scripts it is too few tokens, never none."""
GONE = N_("The worker stopped or lost its connection while writing this text.")
LOST = N_("The worker stopped or lost its connection while writing this text. Ask again.")
"""The same of the last try."""
UNWRITTEN = N_("No model answered in time. Try again; the newest model will be used.")


@dataclass(frozen=True)
class LiveClaim:
    """A generation that this worker holds until its lease runs out.

    ``model`` is None for the base and for an external model, which ``external`` says where to ask.
    """

    id: int
    fencing_token: int
    attempts: int
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    model: str | None
    max_tokens: int
    sampling: dict[str, Any]
    deployment_id: int
    external: External | None = None


@dataclass(frozen=True)
class Written:
    """What the engine wrote, with what was really sent."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    sampling: dict[str, Any]
    engine_version: str


# ── For the person who waits ─────────────────────────────────────────────────────────────────────────────────────────
def asked_before(session: Session, user: User, request_key: str, asked: Any) -> LiveGeneration | None:
    """What ``user`` asked for under this key; None where the key is new.

    Raises:
        BadInput: it was something else than ``asked``.
    """
    mine = LiveGeneration.user_id == user.id, LiveGeneration.request_key == request_key
    earlier = session.scalars(select(LiveGeneration).where(*mine)).one_or_none()
    if earlier is not None and earlier.request_hash != fingerprint(asked):
        raise BadInput(_("This key was used for another request. Use a new key for a new request."))
    return earlier


def request(  # noqa: PLR0913 - each is a column of the row
    session: Session,
    user: User,
    *,
    kind: LiveKind,
    messages: list[dict[str, Any]],
    deployment: Deployment,
    max_tokens: int,
    request_key: str,
    asked: Any,
    prompt_id: int | None = None,
    sampling: dict[str, Any] | None = None,
    slot: int = 0,
) -> LiveGeneration:
    """Queue one text and ring for it. The same ``request_key`` of the same user gives the same generation again.

    ``asked`` is what the key stands for, as JSON: all that the person said, and of what.

    Raises:
        BadInput: the key was used for something else.
        TooMany: the user has used up the day's tokens, or has too many texts under way.
    """
    settings = get_settings()
    # one after another for each person, so that two tabs cannot spend the same tokens
    wait_for_turn(session, f"live:{user.id}")
    earlier = asked_before(session, user, request_key, asked)
    if earlier is not None:
        return earlier
    wanted = min(max_tokens, settings.live_max_tokens)
    _check_quota(session, user, wanted + _tokens_of(messages))
    made = session.scalars(
        insert(LiveGeneration)
        .values(
            user_id=user.id,
            prompt_id=prompt_id,
            kind=kind,
            slot=slot,
            request_key=request_key,
            request_hash=fingerprint(asked),
            deployment_id=deployment.id,
            messages=messages,
            max_tokens=wanted,
            sampling=sampling_of(deployment, sampling or {}),
        )
        .returning(LiveGeneration)
    ).one()
    enqueue(session, Job.LIVE, made.id)
    return made


def _check_quota(session: Session, user: User, wanted: int) -> None:
    settings = get_settings()
    is_open = LiveGeneration.state.in_(OPEN)
    # the engine counts the prompt of what it wrote to its end; what was stopped, refused or not begun counts by its length
    read = case(
        (LiveGeneration.prompt_tokens > 0, LiveGeneration.prompt_tokens),
        else_=func.octet_length(cast(LiveGeneration.messages, Text)) / BYTES_A_TOKEN,
    )
    spent = read + case((is_open, LiveGeneration.max_tokens), else_=LiveGeneration.completion_tokens)
    used, under_way = session.execute(
        select(func.coalesce(func.sum(spent), 0), func.count().filter(is_open)).where(
            LiveGeneration.user_id == user.id, LiveGeneration.created_at > func.now() - text("interval '24 hours'")
        )
    ).one()
    if under_way >= settings.live_at_once:
        raise TooMany(
            _("{n} texts are being generated for you: wait until one is complete, or stop it.", n=under_way),
            retry_after=5,
        )
    if used + wanted > settings.live_tokens_per_day:
        raise TooMany(
            _(
                "You have used {used} of the {most} tokens that one person can use in 24 hours, prompts included, and this "
                "may take {wanted}. Judge what is there, or ask an admin to raise CORRAL_LIVE_TOKENS_PER_DAY.",
                used=number(used),
                most=number(settings.live_tokens_per_day),
                wanted=number(wanted),
            ),
            retry_after=3600,
        )


def _tokens_of(messages: list[dict[str, Any]]) -> int:
    """About how many tokens the engine will read."""
    return len(json.dumps(messages, ensure_ascii=False).encode()) // BYTES_A_TOKEN


def access(session: Session, user: User, generation_id: int) -> LiveGeneration:
    """A generation of ``user``'s own."""
    found = session.get(LiveGeneration, generation_id, populate_existing=True)
    if found is None or found.user_id != user.id:
        raise NotFound
    return found


def position(session: Session, generation: LiveGeneration) -> int:
    """How many generations that are not finished were queued before it; 0 once it is written."""
    if generation.state is not LiveState.QUEUED:
        return 0
    before = LiveGeneration.id < generation.id, LiveGeneration.state == LiveState.QUEUED
    return session.scalar(select(func.count()).where(*before)) or 0


def replies(session: Session, prompt_id: int) -> Sequence[LiveGeneration]:
    """The newest answer of each slot, left to right, with its deployment."""
    return session.scalars(
        select(LiveGeneration)
        .ext(distinct_on(LiveGeneration.slot))
        .where(LiveGeneration.prompt_id == prompt_id, LiveGeneration.kind == LiveKind.REPLY)
        .order_by(LiveGeneration.slot, LiveGeneration.id.desc())
        .options(joinedload(LiveGeneration.deployment))
        .execution_options(populate_existing=True)
    ).all()


def side_by_side(session: Session, generation: LiveGeneration) -> Sequence[LiveGeneration]:
    """The texts that its user watches together, left to right: itself among them, and alone where nothing is beside it."""
    if generation.kind is LiveKind.TRIAL:
        return _of_trial(session, generation)
    if generation.kind is not LiveKind.REPLY or generation.prompt_id is None:
        return [generation]
    found = replies(session, generation.prompt_id)
    return found if generation in found else [generation]  # a newer one stands in its place


def _of_trial(session: Session, generation: LiveGeneration) -> Sequence[LiveGeneration]:
    """Both answers of a trial: their keys are ``…:0`` and ``…:1``."""
    stem = generation.request_key.rpartition(":")[0]
    both = LiveGeneration.request_key.in_([f"{stem}:0", f"{stem}:1"])
    return session.scalars(
        select(LiveGeneration)
        .where(LiveGeneration.user_id == generation.user_id, LiveGeneration.kind == LiveKind.TRIAL, both)
        .order_by(LiveGeneration.slot)
    ).all()


def stop(session: Session, user: User, generation_id: int) -> LiveGeneration:
    """Stop it together with the text beside it: stopping one alone would show how far, and so how fast, it was.

    What has come stays. One that waits ends at once; one that is finished stays as it is.
    """
    ids = [each.id for each in side_by_side(session, access(session, user, generation_id))]
    for found in session.scalars(
        select(LiveGeneration).where(LiveGeneration.id.in_(ids)).order_by(LiveGeneration.id).with_for_update()
    ):
        if found.state is LiveState.QUEUED:
            found.state, found.finish_reason, found.finished_at = LiveState.STOPPED, "stopped", func.now()
            announce(session, found.id, "end")  # no worker will
        if found.state is LiveState.STREAMING and found.stop_asked_at is None:
            found.stop_asked_at = func.now()
    session.flush()
    return session.get_one(LiveGeneration, generation_id, populate_existing=True)


# ── For the worker ───────────────────────────────────────────────────────────────────────────────────────────────────
def claim(session: Session, generation_id: int) -> LiveClaim | None:
    """Take a queued generation; ``None`` when it is taken, finished or unknown."""
    taken = session.scalar(
        update(LiveGeneration)
        .where(LiveGeneration.id == generation_id, LiveGeneration.state == LiveState.QUEUED)
        .values(
            state=LiveState.STREAMING,
            text="",
            fencing_token=LiveGeneration.fencing_token + 1,
            attempts=LiveGeneration.attempts + 1,
            started_at=func.now(),
            lease_until=_lease_end(),
        )
        .returning(LiveGeneration.id)
        .execution_options(synchronize_session=False)
    )
    if taken is None:
        return None
    row = session.get_one(
        LiveGeneration,
        taken,
        options=[
            joinedload(LiveGeneration.prompt),
            joinedload(LiveGeneration.deployment).joinedload(Deployment.checkpoint).joinedload(Checkpoint.external),
        ],
        populate_existing=True,
    )
    checkpoint = row.deployment.checkpoint
    return LiveClaim(
        id=row.id,
        fencing_token=row.fencing_token,
        attempts=row.attempts,
        messages=row.messages,
        tools=row.prompt.tools if row.prompt else None,
        model=checkpoint.name if checkpoint.is_adapter else None,
        max_tokens=row.max_tokens,
        sampling=row.sampling,
        deployment_id=row.deployment_id,
        external=checkpoint.external,
    )


def note_progress(session: Session, held: LiveClaim, so_far: str) -> bool:
    """Store what has come and renew the lease. False: go on no further, it was stopped or taken over."""
    going = session.execute(
        update(LiveGeneration)
        .where(*_ours(held))
        .values(text=so_far, lease_until=_lease_end())
        .returning(LiveGeneration.stop_asked_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return going is not None and going[0] is None


def finish(session: Session, held: LiveClaim, written: Written, *, stopped: bool) -> LiveGeneration | None:
    """Store the whole text; ``None`` when the lease was lost meanwhile."""
    values = {**vars(written), "state": LiveState.STOPPED if stopped else LiveState.DONE, "error": None}
    return _end(session, held, values)


def fail(session: Session, held: LiveClaim, reason: str) -> LiveGeneration | None:
    """End it without a usable text; the person who waits sees the reason."""
    log.warning("live_generation_failed", generation=held.id, reason=reason)
    return _end(session, held, {"state": LiveState.FAILED, "error": reason[:2000]})


def put_back(session: Session, held: LiveClaim, reason: str) -> None:
    """Queue it again, untried, unless its user asked to stop it. :func:`release_expired` ends what waits for too long."""
    log.info("live_generation_put_back", generation=held.id, reason=reason)
    stopped = {"state": LiveState.STOPPED, "lease_until": None, "finish_reason": "stopped", "finished_at": func.now()}
    waits = {"state": LiveState.QUEUED, "lease_until": None, "error": reason[:2000]}
    _move(session, "end", stopped, *_ours(held), LiveGeneration.stop_asked_at.is_not(None))
    _move(session, "wait", waits | {"attempts": LiveGeneration.attempts - 1}, *_ours(held))


def release_expired(session: Session) -> int:
    """Take back the leases of workers that are gone, end what waits in vain, and ring for the rest; returns how many wait."""
    tries = get_settings().generation_tries
    lost = LiveGeneration.state == LiveState.STREAMING, LiveGeneration.lease_until < func.now()
    freed = {"lease_until": None}
    stopped = freed | {"state": LiveState.STOPPED, "finish_reason": "stopped", "finished_at": func.now()}
    failed = freed | {"state": LiveState.FAILED, "error": LOST, "finished_at": func.now()}
    again = freed | {"state": LiveState.QUEUED, "error": GONE}
    _move(session, "end", stopped, *lost, LiveGeneration.stop_asked_at.is_not(None))
    _move(session, "end", failed, *lost, LiveGeneration.attempts >= tries)
    _move(session, "wait", again, *lost)
    _end_hopeless(session)
    return ring_for_waiting(session)


def ring_for_waiting(session: Session) -> int:
    """Ring for what is queued, oldest first and a hundred at a time; returns how many that were."""
    waiting = list(
        session.scalars(
            select(LiveGeneration.id)
            .where(LiveGeneration.state == LiveState.QUEUED)
            .order_by(LiveGeneration.id)
            .limit(100)
        )
    )
    for generation_id in waiting:
        enqueue(session, Job.LIVE, generation_id)
    return len(waiting)


def _end_hopeless(session: Session) -> None:
    """Fail what was put back and has waited for too long, or whose model has left the rotation: no engine will load it."""
    other = aliased(Deployment)
    served = (
        select(other.id)
        .join(Deployment, Deployment.checkpoint_id == other.checkpoint_id)
        .where(Deployment.id == LiveGeneration.deployment_id, other.ended_at.is_(None))
    )
    too_old = LiveGeneration.created_at < func.now() - _seconds(get_settings().live_wait)
    put_back = LiveGeneration.state == LiveState.QUEUED, LiveGeneration.error.is_not(None), LiveGeneration.error != GONE
    failed = {"state": LiveState.FAILED, "error": UNWRITTEN, "finished_at": func.now()}
    ended = _move(session, "end", failed, *put_back, or_(too_old, ~served.exists()))
    if ended:
        log.warning("live_generations_unwritten", generations=ended)


def _move(session: Session, said: str, values: dict[str, Any], *where: Any) -> list[int]:
    """Update the rows that ``where`` finds, and tell who follows them once that is committed; returns their ids."""
    moved = session.scalars(
        update(LiveGeneration)
        .where(*where)
        .values(**values)
        .returning(LiveGeneration.id)
        .execution_options(synchronize_session=False)
    ).all()
    for generation_id in moved:
        announce(session, generation_id, said)
    return list(moved)


def _ours(held: LiveClaim) -> tuple[Any, ...]:
    return (
        LiveGeneration.id == held.id,
        LiveGeneration.fencing_token == held.fencing_token,
        LiveGeneration.state == LiveState.STREAMING,
    )


def _end(session: Session, held: LiveClaim, values: dict[str, Any]) -> LiveGeneration | None:
    values |= {"lease_until": None, "finished_at": func.now()}
    ended = _move(session, "end", values, *_ours(held))
    return session.get(LiveGeneration, held.id, populate_existing=True) if ended else None


def _lease_end() -> Any:
    return func.now() + _seconds(get_settings().live_lease)


def _seconds(count: int) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, count)
