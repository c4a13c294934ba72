"""The ledger of generation: claim prompts, record what was sampled, give back what was not.

A claim is a row with a lease and a fencing token. Whatever happens to the worker, the row says what is left to do, and
what comes back with an old token is dropped. Times are the database's.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import CursorResult, bindparam, case, func, select, text, tuple_, update
from sqlalchemy.orm import Session

from app.candidates.models import Candidate
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import get_settings
from app.prompts.models import CHECKABLE, Batch, BatchTask, PairSelection, Prompt, PromptState
from training.formats.steps import cut

log = structlog.get_logger()

IDENTICAL = "All answers were identical, so there is nothing to compare."
STEPLESS = "The answer says nothing, so it has no step to label."


@dataclass(frozen=True)
class Claim:
    """A prompt that this worker holds until its lease runs out, with what its batch asks for."""

    prompt_id: int
    external_id: str
    fencing_token: int
    attempts: int
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    wanted: int
    max_tokens: int
    sampling: dict[str, Any]
    content_hash: bytes = b""
    selection: PairSelection = PairSelection.RANDOM
    """What of the responses is shown by; with anything but at random, ``wanted`` is said by the caller."""
    sampled: int = 0
    """How many responses are sampled where the shown ones are chosen."""
    batch_id: int = 0
    tests: Any = None
    task: BatchTask = BatchTask.COMPARE
    """What people do with the responses: where they label steps, one is enough."""
    imported: int = 0
    """Responses that came with the prompt: they are shown, and only the others are asked for."""


@dataclass(frozen=True)
class SampledText:
    """One answer of the engine, as it came."""

    checkpoint_id: int
    deployment_id: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    sampling: dict[str, Any]
    engine_version: str
    steps: list[dict[str, Any]] | None = None


# Batches in which generation goes on, with how many more prompts may be answered ahead of the people who judge. What waits
# is counted along ix_comparisons_claim, no further than the bound. Workers that claim at once may exceed it by what they hold.
_GOING_ON = """
    SELECT b.*, :ahead
           - (SELECT count(*) FROM (
                 SELECT 1 FROM comparisons c
                  WHERE c.batch_id = b.id AND c.seats_free > 0 AND c.seats_free = c.annotators_wanted
                    AND c.purpose IN ('collect', 'steps') LIMIT :ahead) unstarted)
           - (SELECT count(*) FROM (SELECT 1 FROM choices_awaited w WHERE w.batch_id = b.id LIMIT :ahead) unchosen)
           - (SELECT count(*) FROM prompts g WHERE g.batch_id = b.id AND g.state = 'generating') AS room
      FROM batches b
     WHERE b.state IN ('preparing', 'open')
       AND EXISTS (SELECT 1 FROM prompts w WHERE w.batch_id = b.id AND w.state = 'pending')
"""

# Batch by batch, so that a paused batch with a million prompts is never walked through. The index behind the inner
# query is partial (pending only) and starts with the batch; SKIP LOCKED lets workers pass each other. MATERIALIZED has the
# planner choose once: a nested loop would ask again for every row, get others each time, and so claim more than the limit.
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (
        SELECT p.id, b.candidates_per_prompt, b.max_tokens, b.sampling, b.selection, b.sampled_per_prompt, b.task
          FROM ({_GOING_ON} ORDER BY b.id) b
         CROSS JOIN LATERAL (
               SELECT id FROM prompts
                WHERE batch_id = b.id AND state = 'pending' AND next_try_at <= now()
                  AND (attempts > 0 AND attempts >= :last_try) = :alone
                ORDER BY next_try_at, id LIMIT least(:n, greatest(b.room, 0)) FOR UPDATE SKIP LOCKED) p
         LIMIT :n)
    UPDATE prompts SET state = 'generating', fencing_token = prompts.fencing_token + 1,
           lease_until = now() + make_interval(secs => :lease)
      FROM due
     WHERE prompts.id = due.id
 RETURNING prompts.id AS prompt_id, prompts.external_id, prompts.fencing_token, prompts.attempts, prompts.messages,
           prompts.tools, due.candidates_per_prompt AS wanted, due.max_tokens, due.sampling, prompts.content_hash,
           due.selection, due.sampled_per_prompt AS sampled, prompts.batch_id, prompts.tests, due.task,
           (SELECT count(*) FROM candidates c WHERE c.prompt_id = prompts.id AND c.engine_version = 'imported') AS imported
""")  # noqa: S608 - of constants
_CHECKABLE = (
    select(CHECKABLE).join_from(Prompt, Batch, Batch.id == Prompt.batch_id).where(Prompt.id == bindparam("prompt"))
)
_DUE = text(f"""
    SELECT EXISTS (SELECT 1 FROM ({_GOING_ON}) b WHERE b.room > 0 AND EXISTS (
        SELECT 1 FROM prompts p WHERE p.batch_id = b.id AND p.state = 'pending' AND p.next_try_at <= now()))
""")  # noqa: S608 - of constants


def claim_prompts(session: Session, n: int) -> list[Claim]:
    """Lease up to ``n`` due prompts of batches that are preparing or open, leaving out those on their last try.

    In each batch no more than keep ``generation_ahead`` comparisons waiting that nobody has begun.
    """
    return _claim(session, n, alone=False)


def claim_last_try(session: Session) -> Claim | None:
    """Lease one prompt that is on its last try, to be made alone.

    A prompt that takes its worker down takes its neighbours' try with it; alone it can only take its own, so the
    neighbours are answered and it is the only one that ends in quarantine.
    """
    return next(iter(_claim(session, 1, alone=True)), None)


def _claim(session: Session, n: int, *, alone: bool) -> list[Claim]:
    settings = get_settings()
    rows = session.execute(
        _CLAIM,
        {
            "n": n,
            "ahead": settings.generation_ahead,
            "alone": alone,
            "last_try": settings.generation_tries - 1,
            "lease": settings.generation_lease,
        },
    ).mappings()
    claims = (
        Claim(**{**row, "selection": PairSelection(row["selection"]), "task": BatchTask(row["task"])}) for row in rows
    )
    return sorted(claims, key=lambda claim: claim.prompt_id)


def renew(session: Session, claims: Iterable[Claim]) -> set[int]:
    """Extend the leases that are still held; returns their prompt ids."""
    held = [(claim.prompt_id, claim.fencing_token) for claim in claims]
    return set(
        session.scalars(
            update(Prompt)
            .where(tuple_(Prompt.id, Prompt.fencing_token).in_(held), Prompt.state == PromptState.GENERATING)
            .values(lease_until=func.now() + _seconds(get_settings().generation_lease))
            .returning(Prompt.id)
        )
    )


def release(session: Session, claims: Iterable[Claim]) -> int:
    """Return prompts without counting an attempt. Each waits a moment of its own, so that others come first."""
    return sum(
        _end_lease(session, claim, state=PromptState.PENDING, next_try_at=func.now() + _seconds(_jitter(2.0)))
        for claim in claims
    )


def record_candidates(session: Session, claim: Claim, samples: Sequence[SampledText]) -> bool:
    """Store the answers and mark the prompt ready; the caller makes its comparison in the same transaction.

    Returns false, and the prompt is not ready, when the lease was lost meanwhile (nothing is stored then) or when all
    answers are the same text. They are stored. Where they can be checked the prompt is ``unanimous``, for the same answer every
    time is what a right one looks like; elsewhere the try is counted, and the next one samples again. Where people label steps
    one answer is enough, if it says anything.
    """
    if not _hold(session, claim):
        log.warning("late_candidates_dropped", prompt=claim.prompt_id)
        return False
    taken = session.execute(
        select(Candidate.checkpoint_id, func.max(Candidate.sample_index) + 1)
        .where(Candidate.prompt_id == claim.prompt_id)
        .group_by(Candidate.checkpoint_id)
    )
    index: dict[int, int] = {checkpoint: at for checkpoint, at in taken}  # noqa: C416 - a Row is no pair to mypy
    for sample in samples:
        at = index.get(sample.checkpoint_id, 0)
        index[sample.checkpoint_id] = at + 1
        session.add(Candidate(prompt_id=claim.prompt_id, sample_index=at, **vars(sample)))
    session.flush()
    if claim.task is BatchTask.STEPS:
        if any(cut(sample.text) for sample in samples[-1:]):
            _end_lease(session, claim, state=PromptState.READY, last_error=None)
            return True
        fail_prompt(session, claim, STEPLESS, retry_in=_jitter(1.0))
        return False
    texts = session.scalars(select(Candidate.text).where(Candidate.prompt_id == claim.prompt_id))
    if len({sampled.strip() for sampled in texts}) < 2:
        if session.scalar(_CHECKABLE, {"prompt": claim.prompt_id}):
            _end_lease(session, claim, state=PromptState.UNANIMOUS, last_error=None)
        else:
            reason = f"{IDENTICAL} Raise the batch's temperature."
            fail_prompt(session, claim, reason, retry_in=_jitter(1.0))
        return False
    _end_lease(session, claim, state=PromptState.READY, last_error=None)
    return True


def not_settled(session: Session, prompt_id: int, reason: str) -> None:
    """Count a failed try of a prompt whose identical answers did not pass their checks; it is asked again, or quarantined."""
    tries = get_settings().generation_tries
    attempts = Prompt.attempts + 1
    state = session.scalar(
        update(Prompt)
        .where(Prompt.id == prompt_id, Prompt.state == PromptState.UNANIMOUS)
        .values(
            attempts=attempts,
            last_error=reason[:2000],
            next_try_at=func.now(),
            state=case((attempts >= tries, PromptState.QUARANTINED.value), else_=PromptState.PENDING.value),
        )
        .returning(Prompt.state)
        .execution_options(synchronize_session="fetch")
    )
    if state is PromptState.PENDING:
        enqueue(session, Job.GENERATE)


def fail_prompt(session: Session, claim: Claim, reason: str, *, retry_in: float | None) -> bool:
    """Count a failed try; quarantine after the last, or at once when ``retry_in`` is None. False: the lease was lost."""
    attempts = claim.attempts + 1
    final = retry_in is None or attempts >= get_settings().generation_tries
    values: dict[str, Any] = {"attempts": attempts, "last_error": reason[:2000]}
    if final:
        values["state"] = PromptState.QUARANTINED
    else:
        values |= {"state": PromptState.PENDING, "next_try_at": func.now() + _seconds(retry_in or 0.0)}
    held = _end_lease(session, claim, **values)
    if held and final:
        log.warning("prompt_quarantined", prompt=claim.prompt_id, reason=reason)
    return held


# A lease that ran out counts as a try: whatever took the worker down may have been this prompt.
_EXPIRED = text("""
    WITH gone AS MATERIALIZED (
        SELECT id FROM prompts WHERE state = 'generating' AND lease_until < now()
         ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED)
    UPDATE prompts
       SET attempts = attempts + 1, lease_until = NULL, last_error = :reason,
           state = CASE WHEN attempts + 1 >= :tries THEN 'quarantined' ELSE 'pending' END,
           next_try_at = now() + make_interval(secs => random() * :spread)
     WHERE id IN (SELECT id FROM gone)
 RETURNING id, state
""").bindparams(bindparam("reason", "The worker stopped or lost its connection while it held this prompt."))


def release_expired(session: Session) -> int:
    """Take back the leases of workers that are gone; returns how many prompts wait again."""
    rows = session.execute(_EXPIRED, {"tries": get_settings().generation_tries, "spread": 2.0}).all()
    if rows:
        log.warning("generation_leases_expired", prompts=len(rows))
    return sum(row.state == PromptState.PENDING for row in rows)


def work_is_due(session: Session) -> bool:
    """Whether a prompt waits that a worker may claim now; those that wait until people have judged some do not count."""
    return bool(session.scalar(_DUE, {"ahead": get_settings().generation_ahead}))


def ring_if_due(session: Session) -> None:
    """Ring for generation when prompts wait for it: the doorbell may be lost, and people make room by working."""
    if work_is_due(session):
        enqueue(session, Job.GENERATE)


def backoff(attempts: int) -> float:
    """Seconds until the next try: 2, 4, 8 … up to a minute, spread by jitter so that retries do not come in step."""
    return _jitter(min(60.0, 2.0 ** (attempts + 1)))


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def _seconds(seconds: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _hold(session: Session, claim: Claim) -> bool:
    """Lock the row while it is still ours."""
    query = select(Prompt.id).where(
        Prompt.id == claim.prompt_id,
        Prompt.fencing_token == claim.fencing_token,
        Prompt.state == PromptState.GENERATING,
    )
    return session.scalar(query.with_for_update()) is not None


def _end_lease(session: Session, claim: Claim, **values: Any) -> bool:
    statement = (
        update(Prompt)
        .where(
            Prompt.id == claim.prompt_id,
            Prompt.fencing_token == claim.fencing_token,
            Prompt.state == PromptState.GENERATING,
        )
        .values(lease_until=None, **values)
        .execution_options(synchronize_session="fetch")
    )
    result = session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101 - what an UPDATE returns
    return bool(result.rowcount)
