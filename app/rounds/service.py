"""The round as a state machine: collecting → training → checking → challenging → complete, with a verdict.

A round's training is a chain of runs (``app.rounds.plan``): the reward model, the imitation of the best of many samples, and
the policy. :func:`start_training` writes the chain, workers run what is due (``app.rounds.claims``), and :func:`advance`,
rung by beat and by everything that ends, looks at the rows and does the next step. When all are trained, one more run checks
the result (``app.rounds.checking``): it is refused, or goes into a contest with the champion (``app.rounds.contests``), while
the next round collects. Advance may be called at any time and any number of times. Whoever changes a chain holds the lock on
its round's row first, so two starts, or a cancel and an advance, take turns.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_, in_english
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.loops import service as loops
from app.loops.models import Round, RoundState, Verdict
from app.loops.queries import current_round
from app.preferences import service as preferences
from app.preferences import trainable
from app.preferences.models import Snapshot, SnapshotState
from app.registry.externals import left_out_of_training
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState
from app.rounds import checking, claims, contests, endings, gate, learnt, plan, queries, recent
from app.rounds.learnt import NO_OTHERS, Learnt, Weights
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.readiness import readiness
from app.rounds.recipes import MIN_STRENGTH, SEED, trained_by

log = structlog.get_logger()

PRODUCTS = {RunKind.REWARD: "reward", RunKind.SFT: "sft", RunKind.DPO: "policy", RunKind.GRPO: "checked"}
"""What the checkpoint of a run is called."""
SCOPES = {
    RunKind.SFT: N_("the best answers of the champion, and people's edits"),
    RunKind.GRPO: N_("what checks find of the policy's own answers"),
}
"""What those kinds of run learn from that learn from no preferences."""
ALL_ROUNDS = N_("all rounds")


# ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def start_training(session: Session, user: User | None, weights: Weights = NO_OTHERS) -> list[TrainingRun]:
    """Freeze what there is and queue the reward model and the policy; ``user`` is None for the nightly start.

    Both learn from all rounds, the policy more from what is new: of what was tried that keeps most of what earlier rounds
    taught (docs/decisions/0043). Between the two a run imitates those of many samples that the reward model likes best
    (``training_samples``), and the policy goes on from there; after it one may go on with what can be checked
    (``training_checked_steps``), where there is anything.

    ``weights`` of sources hold for this training alone, in place of those that are set.

    Raises:
        BadInput: a weight is of no source that this training could learn from.
        Conflict: a training is under way, or there is too little to learn from; the message says how much is missing.
    """
    current = loops.lock_current_round(session)
    kinds = plan.chain(get_settings())
    learnt.check(session, kinds, weights)
    ready = readiness(session, current, weights)
    if ready.blocked:
        raise Conflict(ready.blocked)
    base = _base(session)
    everything = preferences.request_snapshot(session, user, trainable.selection())
    queued: list[TrainingRun] = []
    for kind in kinds:
        if kind is RunKind.GRPO and not ready.checkable:
            log.info("no_learning_from_checks", reason="No training prompt says what an answer must come to.")
            continue
        beside = learnt.given(session, kind, weights)
        learns_from = learnt.words(SCOPES.get(kind, ALL_ROUNDS), beside)
        after = queued[-1] if queued else None
        config = _config(session, current, kind, base, learns_from, beside) | {"units": ready.units.get(kind, 0)}
        queued.append(_queue(session, current, kind, everything, config, user, after))
        learnt.note(session, queued[-1], beside)
    current.state = RoundState.TRAINING
    said = {"weights": {str(number): weight for number, weight in weights.items()}} if weights else {}
    accounts.audit(session, user, "training.start", "round", current.id, runs=[run.id for run in queued], **said)
    log.info("training_queued", runs=[run.id for run in queued], about_minutes=ready.minutes)
    session.flush()
    return queued


def start_nightly(session: Session) -> list[TrainingRun]:
    """Start a training when enough was annotated since the last one; otherwise leave, saying why in the log."""
    needed = get_settings().nightly_min_annotations
    found = recent.judged(session, recent.last_snapshot(session))
    if found < max(1, needed):
        log.info("nightly_not_due", new_annotations=found, needed=needed)
        return []
    if _refused_before(session):
        log.info("nightly_left", reason="A gate refused the last training, and there are no new judgements since.")
        return []
    try:
        started = start_training(session, None)
    except Conflict as conflict:
        log.info("nightly_left", reason=conflict.message)
        return []
    log.info("nightly_started", runs=[run.id for run in started])
    return started


def _refused_before(session: Session) -> bool:
    """Whether the last attempt failed at a gate, which a training on the same judgements would not pass either."""
    current = current_round(session)
    attempt = queries.last_attempt(session, current) if current else ()
    if not any(run.refused for run in attempt):
        return False
    last = attempt[0].snapshot
    return recent.judged(session, last) == 0 and not recent.otherwise(last)


def _base(session: Session) -> Checkpoint:
    query = select(Checkpoint).where(Checkpoint.kind == CheckpointKind.BASE, Checkpoint.state == CheckpointState.READY)
    base = session.scalar(query)
    if base is None:
        raise Conflict(_("There is no base model to train from. Start the installation with `corral up` first."))
    return base


def _config(
    session: Session, current: Round, kind: RunKind, base: Checkpoint, scope: str, beside: Sequence[Learnt] = ()
) -> dict[str, Any]:
    """``run`` is what the run file says; ``scope`` which preferences it learns from and ``trained_by`` by whom, in words."""
    settings = get_settings()
    samples: dict[str, Any] = {
        "samples": settings.training_samples,
        "sample_prompts": settings.training_sample_prompts,
        "sample_tokens": settings.training_sample_tokens,
    }
    if settings.training_steps_model is not None:
        samples |= {
            "steps_model": settings.name_of(settings.training_steps_model),
            "steps_floor": settings.training_steps_floor,
        }
    if settings.judge:
        samples |= {"judge": settings.judge, "refusals": settings.training_refusals}
    if settings.training_solutions:
        samples |= {"solutions": settings.training_solutions}
    run: dict[str, Any] = {
        "kind": kind.value,
        "recipe": settings.training_recipe,
        "seed": SEED,
        "name": f"{PRODUCTS[kind]}-r{current.number}-{secrets.token_hex(4)}",
        "base_model": base.path,
    }
    if kind is RunKind.GRPO:
        run |= {"steps": settings.training_checked_steps, "max_tokens": settings.check_tokens, "lenient": True}
        return {"scope": scope, "trained_by": trained_by(kind, run), "base_id": base.id, "run": run}
    run["data"] = {} if kind is RunKind.SFT else {"min_strength": MIN_STRENGTH}
    if kind is RunKind.DPO:  # how much more that counts, the recipe says
        run["data"]["newest_after"] = recent.newest_trained(session)
    if barred := left_out_of_training(session):
        run["data"]["leave_out"] = barred
    told = learnt.told(beside, settings)
    run |= told | {"data": run["data"] | told.get("data", {})}
    more = samples if kind is RunKind.SFT else {}
    return {"scope": scope, "trained_by": trained_by(kind, run), "base_id": base.id, **more, "run": run}


def _queue(
    session: Session,
    current: Round,
    kind: RunKind,
    snapshot: Snapshot,
    config: dict[str, Any],
    user: User | None,
    after: TrainingRun | None = None,
) -> TrainingRun:
    run = TrainingRun(
        round_id=current.id,
        kind=kind,
        snapshot_id=snapshot.id,
        after_run_id=after.id if after else None,
        config=config,
        created_by_id=user.id if user else None,
    )
    session.add(run)
    session.flush()
    return run


# ── Cancel and retry ─────────────────────────────────────────────────────────────────────────────────────────────────
ENDED = {
    RunState.SUCCEEDED: N_("Run {run} has already ended: it succeeded."),
    RunState.FAILED: N_("Run {run} has already ended: it failed."),
    RunState.CANCELLED: N_("Run {run} has already ended: it cancelled."),
}
NOT_TO_RETRY = {
    RunState.QUEUED: N_("Run {run} queued; there is nothing to retry."),
    RunState.RUNNING: N_("Run {run} running; there is nothing to retry."),
    RunState.SUCCEEDED: N_("Run {run} succeeded; there is nothing to retry."),
}


def cancel(session: Session, user: User | None, run: TrainingRun) -> None:
    """Ask a run to stop; what waits for it is cancelled with it. A running one stops within seconds.

    Raises:
        Conflict: it has ended already.
    """
    session.execute(select(Round.id).where(Round.id == run.round_id).with_for_update())
    locked = select(TrainingRun).where(TrainingRun.id == run.id).with_for_update()
    run = session.scalars(locked.execution_options(populate_existing=True)).one()
    if run.state not in queries.LIVE:
        raise Conflict(_(ENDED[run.state], run=run.id))
    run.cancel_requested_at = func.now()
    if run.state is RunState.QUEUED:
        run.state, run.finished_at = RunState.CANCELLED, func.now()
    accounts.audit(session, user, "training.cancel", "training_run", run.id)
    session.flush()
    advance(session)


def retry(session: Session, user: User | None, run: TrainingRun) -> None:
    """Queue a run that failed or was cancelled again, with those that waited for it. It resumes where it was saved.

    Raises:
        Conflict: it did not fail, something else is training, or it belongs to an attempt that is over.
    """
    current = loops.lock_current_round(session)
    attempt = queries.last_attempt(session, current)
    if current.state is not RoundState.COLLECTING or run.id not in {other.id for other in attempt}:
        raise Conflict(_("This run belongs to an earlier attempt. Start a new training instead."))
    if run.state not in {RunState.FAILED, RunState.CANCELLED}:
        raise Conflict(_(NOT_TO_RETRY[run.state], run=run.id))
    if any(gate.base_is_gone(session, other) for other in attempt):
        raise Conflict(f"{_(gate.BASE_GONE)} {_('Start a new training instead.')}")
    if any(other.snapshot.state in {SnapshotState.FAILED, SnapshotState.ERASED} for other in attempt):
        raise Conflict(_("The snapshot of this run could not be built, or was erased. Start a new training instead."))
    if gone := learnt.without_file(session, [other.id for other in attempt]):
        raise Conflict(_("The file of the source “{name}” was deleted. Start a new training instead.", name=gone.name))
    for other in attempt:
        if other.state in {RunState.FAILED, RunState.CANCELLED}:
            endings.queue_again(other)
    trained = all(other.state is RunState.SUCCEEDED for other in attempt if other.kind is not RunKind.CHECK)
    current.state = RoundState.CHECKING if trained else RoundState.TRAINING
    accounts.audit(session, user, "training.retry", "training_run", run.id)
    session.flush()
    advance(session)


# ── Advance ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def advance(session: Session) -> None:
    """Do the next step of the current round, whatever it is. Safe to call at any time.

    1. Snapshots that wait are rung for; contests are counted, and those that are decided closed.
    2. A run whose worker went silent is queued again.
    3. What cannot succeed any more, for want of its snapshot or its base model, ends. A
       chain with a failed or cancelled link ends, and the round goes back to collecting.
    4. A chain whose trainings all succeeded is checked; once it is, its policy is refused or challenges the champion, and
       the next round begins.
    5. Otherwise what is due is rung for.
    """
    preferences.ring_for_unfinished(session)
    # First the round, then the contests: whoever opens one has the lock on the round already.
    current = session.scalar(
        select(Round)
        .where(Round.state.in_((RoundState.TRAINING, RoundState.CHECKING)))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    contests.look(session)
    if current is None:
        return
    endings.release_silent(session)
    attempt = queries.last_attempt(session, current)
    _fail_without_snapshot(attempt)
    _stop_without_base(session, attempt)
    if any(run.state in {RunState.FAILED, RunState.CANCELLED} for run in attempt):
        _end_attempt(current, attempt)
    elif all(run.state is RunState.SUCCEEDED for run in attempt):
        if attempt[-1].kind is RunKind.CHECK:
            _conclude(session, current, attempt)
        else:
            checking.begin(session, current, attempt)
            current.state = RoundState.CHECKING
    else:
        for run in attempt:
            if claims.is_due(run, attempt):
                enqueue(session, Job.RUN_TRAINING, run.id)
    session.flush()


def _fail_without_snapshot(attempt: Sequence[TrainingRun]) -> None:
    for run in attempt:
        if run.state is RunState.QUEUED and run.snapshot.state is SnapshotState.FAILED:
            run.state, run.finished_at = RunState.FAILED, func.now()
            run.error = f"{N_('The snapshot could not be built.')} {run.snapshot.error}"
            run.remedy = N_("Remove the cause and start a new training.")


def _stop_without_base(session: Session, attempt: Sequence[TrainingRun]) -> None:
    for run in attempt:
        if run.state in queries.LIVE and gate.base_is_gone(session, run):
            if run.state is RunState.QUEUED:
                run.state, run.finished_at = RunState.FAILED, func.now()
                run.error, run.remedy = gate.BASE_GONE, gate.ANEW
            elif run.cancel_requested_at is None:
                run.cancel_requested_at = func.now()


def _end_attempt(current: Round, attempt: Sequence[TrainingRun]) -> None:
    """Cancel what waits; the round collects again as soon as nothing runs any more."""
    for run in attempt:
        if run.state is RunState.QUEUED:
            run.state, run.finished_at = RunState.CANCELLED, func.now()
        elif run.state is RunState.RUNNING and run.cancel_requested_at is None:
            run.cancel_requested_at = func.now()
    if not any(run.state is RunState.RUNNING for run in attempt):
        current.state = RoundState.COLLECTING
        log.info("round_collects_again", round=current.number)


def _conclude(session: Session, current: Round, attempt: Sequence[TrainingRun]) -> None:
    """What was trained has been checked: it is refused, or people compare it with the champion from now on."""
    trained = session.get_one(Checkpoint, checking.policy_of(attempt))
    candidate = checking.candidate(session, attempt[-1])
    try:
        with session.begin_nested(), in_english():  # why it cannot be is kept
            if candidate is None:
                _refuse(session, current, trained, " ".join(checking.refusals(session, attempt[-1])))
            else:
                challenge(session, current, candidate)
    except Conflict as conflict:
        session.refresh(current)
        current.state = RoundState.COLLECTING
        why = N_("It was trained and checked, but could not be added to the rotation.")
        attempt[-1].error = f"{why} {conflict.message}"
        attempt[-1].remedy = N_("The champion stays, and the round continues to collect. Start a new training.")
        log.warning("policy_not_in_contest", round=current.number, checkpoint=trained.name, reason=conflict.message)


def _refuse(session: Session, current: Round, policy: Checkpoint, reason: str) -> None:
    current.state, current.completed_at = RoundState.COMPLETE, func.now()
    current.verdict, current.verdict_reason = Verdict.REFUSED, reason
    _open_next(session, current)
    accounts.audit(session, None, "round.complete", "round", current.id, policy=policy.name, verdict="refused")
    log.info("round_refused", round=current.number, policy=policy.name, reason=reason)


def challenge(session: Session, current: Round, policy: Checkpoint) -> None:
    """The policy of a round is in contest from now on, and the next round collects; whoever calls has the round's lock."""
    current.state = RoundState.CHALLENGING
    _open_next(session, current)
    contests.open_gate(session, current, policy)
    log.info("round_challenges", round=current.number, policy=policy.name)


def _open_next(session: Session, current: Round) -> None:
    session.flush()  # before the next round exists: only one may be current
    session.add(Round(loop_id=current.loop_id, number=current.number + 1))
    session.flush()
