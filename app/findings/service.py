"""The ledger of checks: claim one, record what was found, give back what was not checked.

As with the ledger of prompts (:mod:`app.candidates.service`), a claim is a row with a lease and a fencing token. Whatever happens
to the worker, the row says what is left to do, and what comes back with an old token is dropped. Times are the database's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import CursorResult, func, insert, literal, select, text, update
from sqlalchemy.orm import Session

from app.annotations.models import Annotation
from app.candidates import service as candidates
from app.candidates.models import Candidate
from app.findings.models import Check, CheckState, Finding
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import get_settings
from app.kernel.thinking import parted
from app.prompts.models import Batch, Prompt, PromptState

log = structlog.get_logger()

PUT_OFF_FOR = timedelta(days=1)
"""From the making of a check, how long it waits for what it needs."""

CHECKER = "checks"
"""Named as the verifier where no verifier could say anything, because the check as a whole could not be made."""


@dataclass(frozen=True)
class Claim:
    """A check that this worker holds until its lease runs out."""

    check_id: int
    fencing_token: int
    attempts: int


@dataclass(frozen=True)
class Work:
    """What is checked, as the verifiers' protocol has it, and by which of them; None: by all that apply."""

    case: dict[str, Any]
    verifiers: list[str] | None


@dataclass(frozen=True)
class Found:
    """What one verifier found; the fields are those of the verifiers' protocol."""

    verifier: str
    version: str
    passed: bool | None
    message: str
    score: float | None = None
    evidence: dict[str, Any] | None = None


# An edit whose annotator waits comes first; each half is read along its own partial index.
_CLAIM = text("""
    UPDATE checks SET state = 'checking', fencing_token = fencing_token + 1,
           lease_until = now() + make_interval(secs => :lease)
     WHERE id = coalesce(
           (SELECT id FROM checks WHERE state = 'pending' AND assignment_id IS NOT NULL AND next_try_at <= now()
             ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED),
           (SELECT id FROM checks WHERE state = 'pending' AND next_try_at <= now()
             ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED))
 RETURNING id, fencing_token, attempts
""")
_DUE = text("SELECT EXISTS (SELECT 1 FROM checks WHERE state = 'pending' AND next_try_at <= now())")


def claim(session: Session) -> Claim | None:
    """Lease the check that is due; None where there is none."""
    row = session.execute(_CLAIM, {"lease": get_settings().check_lease}).one_or_none()
    return Claim(*row) if row else None


def work_of(session: Session, held: Claim) -> Work:
    """What there is to check, without the thinking that comes before an answer."""
    row = session.execute(
        select(
            Prompt.messages,
            Prompt.reference,
            Prompt.tests,
            Prompt.tools,
            Batch.verifiers,
            func.coalesce(Check.draft, Annotation.edited_text, Candidate.text).label("response"),
            Candidate.steps,
        )
        .join(Prompt, Prompt.id == Check.prompt_id)
        .join(Batch, Batch.id == Check.batch_id)
        .outerjoin(Annotation, Annotation.id == Check.annotation_id)
        .outerjoin(Candidate, Candidate.id == Check.candidate_id)
        .where(Check.id == held.check_id)
    ).one()
    thought = parted(row.response)
    case = {
        "prompt": row.messages,
        "response": thought[1] if thought else row.response,
        "reference": row.reference,
        "tests": row.tests,
        "tools": row.tools,
        "steps": row.steps,
    }
    return Work(case, row.verifiers)


def renew(session: Session, held: Claim) -> bool:
    """Extend a lease; False where it is lost."""
    return _change(session, held, lease_until=_in(get_settings().check_lease))


def release(session: Session, held: Claim) -> bool:
    """Give a check back untried: no attempt is counted."""
    return _change(session, held, state=CheckState.PENDING, lease_until=None, next_try_at=func.now())


def put_off(session: Session, held: Claim, reason: str) -> bool:
    """Give a check back whose verifiers lack something that is away; it is no try, and comes later the older it is.

    False where it waits no longer: somebody looks at their edit now, or it has waited for :data:`PUT_OFF_FOR`.
    """
    waits = _held(held).where(Check.assignment_id.is_(None), Check.created_at > func.now() - literal(PUT_OFF_FOR))
    if session.scalars(waits).one_or_none() is None:
        return False
    age = func.extract("epoch", func.now() - Check.created_at)
    later = _in(func.least(600.0, func.greatest(5.0, age / 2)))
    return _change(
        session, held, state=CheckState.PENDING, lease_until=None, next_try_at=later, last_error=reason[:2000]
    )


def record(session: Session, held: Claim, case_hash: str, found: Sequence[Found], *, lacking: str = "") -> bool:
    """Store what was found, once. False, and nothing is stored, where the lease was lost meanwhile.

    ``lacking`` says what was away: then the check failed, so that the same text is checked anew when it is asked for.
    """
    if lacking:
        return _record(session, held, case_hash, found, CheckState.FAILED, last_error=lacking[:2000])
    return _record(session, held, case_hash, found, CheckState.DONE)


def fail(session: Session, held: Claim, reason: str, *, retry_in: float) -> bool:
    """Count a failed try. After the last one the finding is that it could not be checked. False: the lease was lost."""
    attempts = held.attempts + 1
    if attempts < get_settings().check_tries:
        again = {"attempts": attempts, "last_error": reason[:2000], "next_try_at": _in(retry_in)}
        return _change(session, held, state=CheckState.PENDING, lease_until=None, **again)
    log.warning("check_given_up", check=held.check_id, reason=reason)
    return _record(
        session, held, "", [_not_checked(reason)], CheckState.FAILED, attempts=attempts, last_error=reason[:2000]
    )


def _not_checked(reason: str) -> Found:
    return Found(CHECKER, "1", None, f"Could not be checked: {reason[:400]}", evidence={})


def _record(
    session: Session, held: Claim, case_hash: str, found: Sequence[Found], state: CheckState, **more: Any
) -> bool:
    check = session.scalars(_held(held).with_for_update().execution_options(populate_existing=True)).one_or_none()
    if check is None:
        log.warning("late_findings_dropped", check=held.check_id)
        return False
    if check.assignment_id is not None:
        more["draft_findings"] = [asdict(each) | {"case_hash": case_hash} for each in found]
    elif found:
        session.execute(insert(Finding), [row_of(check, held.fencing_token, case_hash, each) for each in found])
    more |= {"found_token": held.fencing_token, "finished_at": func.now()}
    _change(session, held, state=state, lease_until=None, **({"last_error": None} | more))
    if check.candidate_id is not None:
        _settle(session, check.prompt_id)
    return True


def row_of(check: Check, token: int, case_hash: str, found: Found) -> dict[str, Any]:
    """A row of ``findings``, as far as the sizes of its columns allow."""
    return {
        "check_id": check.id,
        "fencing_token": token,
        "candidate_id": check.candidate_id,
        "annotation_id": check.annotation_id,
        "verifier": found.verifier[:60],
        "version": found.version[:120],
        "case_hash": case_hash,
        "passed": found.passed,
        "score": found.score,
        "message": found.message,
        "evidence": found.evidence or {},
    }


def _settle(session: Session, prompt_id: int) -> None:
    """Whether identical answers are right, once all of them are checked; the row's lock lets the last of them see the others."""
    prompt = session.scalars(select(Prompt).where(Prompt.id == prompt_id).with_for_update(of=Prompt)).one()
    if prompt.state is not PromptState.UNANIMOUS:
        return
    states = session.execute(select(Check.state).where(Check.prompt_id == prompt_id, Check.candidate_id.is_not(None)))
    if any(state not in {CheckState.DONE, CheckState.FAILED} for (state,) in states):
        return
    said = session.execute(
        select(Finding.verifier, Finding.passed, Finding.message)
        .join(Check, (Finding.check_id == Check.id) & (Finding.fencing_token == Check.found_token))
        .where(Check.prompt_id == prompt_id, Check.candidate_id.is_not(None))
        .order_by(Finding.passed.is_(False).desc(), Finding.id)
    ).all()
    wrong = next((each for each in said if each.passed is False), None)
    if wrong is not None:
        candidates.not_settled(
            session, prompt_id, f"All answers were identical and wrong ({wrong.verifier}: {wrong.message})."
        )
    elif not any(each.passed for each in said):
        candidates.not_settled(session, prompt_id, f"{candidates.IDENTICAL} No check could say whether they are right.")


# A lease that ran out counts as a try: whatever took the worker down may have been this text.
_EXPIRED = text("""
    SELECT id, fencing_token, attempts FROM checks WHERE state = 'checking' AND lease_until < now()
     ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
""")


def release_expired(session: Session) -> int:
    """Take back the leases of workers that are gone; returns how many there were."""
    gone = [Claim(*row) for row in session.execute(_EXPIRED)]
    for held in gone:
        fail(session, held, "the worker stopped, or lost its connection, while it checked this text.", retry_in=1.0)
    if gone:
        log.warning("check_leases_expired", checks=len(gone))
    return len(gone)


def work_is_due(session: Session) -> bool:
    """Whether a check waits that a worker may claim now."""
    return bool(session.scalar(_DUE))


def ring_if_due(session: Session) -> None:
    """Ring for checks when some wait: the doorbell may be lost."""
    if work_is_due(session):
        enqueue(session, Job.CHECK)


def _in(seconds: Any) -> Any:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _held(held: Claim) -> Any:
    return select(Check).where(
        Check.id == held.check_id, Check.fencing_token == held.fencing_token, Check.state == CheckState.CHECKING
    )


def _change(session: Session, held: Claim, **values: Any) -> bool:
    statement = (
        update(Check)
        .where(Check.id == held.check_id, Check.fencing_token == held.fencing_token, Check.state == CheckState.CHECKING)
        .values(**values)
        .execution_options(synchronize_session="fetch")
    )
    result = session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101 - what an UPDATE returns
    return bool(result.rowcount)
