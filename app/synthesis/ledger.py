"""The ledger of orders: claim one, record what became of its numbers, give it back.

As with the ledger of prompts (:mod:`app.candidates.service`), a claim is a row with a lease and a fencing token, and what comes
back with an old token is dropped. Numbers are recorded in their order, so a worker that is lost costs those of its last step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from app.kernel.jobs import Job, enqueue
from app.kernel.settings import get_settings
from app.registry.models import External
from app.synthesis.models import Synthesis, SynthesisRow, SynthesisState
from app.synthesis.service import end, import_made

LEASE = 300
"""Seconds after which the order of a silent worker is given to another: longer than a model may take for one answer."""


@dataclass(frozen=True)
class Claim:
    """An order that this worker holds until its lease runs out."""

    synthesis_id: int
    fencing_token: int


@dataclass(frozen=True)
class Work:
    """What there is to make."""

    generator: str
    seed: int
    options: dict[str, Any]
    material: list[dict[str, str]]
    next_number: int
    wanted: int
    endpoint: str | None
    """Of the model that writes, with its name there; None where nothing is asked."""
    model: str | None


@dataclass(frozen=True)
class Row:
    """What became of a number: a record, or the reason why there is none."""

    number: int
    record: dict[str, Any] | None = None
    reason: str | None = None


# One order at a time: what is under way elsewhere is left alone, so that a slow model never takes all workers.
_CLAIM = text("""
    UPDATE syntheses SET fencing_token = fencing_token + 1, lease_until = now() + make_interval(secs => :lease)
     WHERE id = (SELECT id FROM syntheses WHERE state = 'running' AND next_try_at <= now()
                    AND (lease_until IS NULL OR lease_until < now())
                  ORDER BY next_try_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
       AND NOT EXISTS (SELECT FROM syntheses WHERE lease_until >= now())
 RETURNING id, fencing_token
""")


def claim(session: Session) -> Claim | None:
    """Lease the order that is due; None where there is none, or another worker has one."""
    row = session.execute(_CLAIM, {"lease": LEASE}).one_or_none()
    return Claim(*row) if row else None


def work_of(session: Session, held: Claim) -> Work:
    """What is left to make of an order."""
    query = (
        select(
            Synthesis.generator,
            Synthesis.seed,
            Synthesis.options,
            Synthesis.material,
            Synthesis.next_number,
            Synthesis.wanted,
            External.endpoint,
            External.model,
        )
        .outerjoin(External, External.checkpoint_id == Synthesis.asks_id)
        .where(Synthesis.id == held.synthesis_id)
    )
    return Work(*session.execute(query).one())


def record(session: Session, held: Claim, rows: Sequence[Row], *, ended: bool = False) -> int | None:
    """Store what became of the next numbers; ``ended``: there are no more.

    Returns how many numbers are left, or None where the lease was lost and nothing was stored. An order whose file would be
    larger than an upload may be ends with what it has.
    """
    synthesis = _held(session, held)
    if synthesis is None:
        return None
    for row in rows:
        size = 0 if row.record is None else len(json.dumps(row.record, ensure_ascii=False).encode()) + 1
        if row.number != synthesis.next_number or row.number >= synthesis.wanted:
            break  # it was stopped meanwhile
        if synthesis.made_bytes + size > get_settings().upload_limit_bytes:
            ended = True
            break
        values = {"synthesis_id": synthesis.id, "number": row.number, "record": row.record, "reason": row.reason}
        session.execute(insert(SynthesisRow).values(values))
        synthesis.next_number += 1
        synthesis.made += row.record is not None
        synthesis.made_bytes += size
    if ended:
        synthesis.wanted = synthesis.next_number
    synthesis.last_error, synthesis.lease_until = None, _in(LEASE)
    session.flush()
    return synthesis.wanted - synthesis.next_number


def renew(session: Session, held: Claim) -> None:
    """Extend a lease, unless it is lost."""
    synthesis = _held(session, held)
    if synthesis is not None:
        synthesis.lease_until = _in(LEASE)


def release(session: Session, held: Claim) -> None:
    """Give an order back; the next step takes it up."""
    synthesis = _held(session, held)
    if synthesis is not None:
        synthesis.lease_until, synthesis.next_try_at = None, func.now()
        enqueue(session, Job.MAKE_PROMPTS)


def wait(session: Session, held: Claim, reason: str, seconds: float) -> None:
    """Give an order back for a while: what it needs is away."""
    synthesis = _held(session, held)
    if synthesis is not None:
        synthesis.lease_until, synthesis.next_try_at, synthesis.last_error = None, _in(seconds), reason[:2000]


def fail(session: Session, held: Claim, reason: str) -> None:
    """Nothing of an order can be made."""
    synthesis = _held(session, held)
    if synthesis is not None:
        end(synthesis, SynthesisState.FAILED, reason[:2000])


def finish(session: Session, held: Claim) -> None:
    """Everything is tried: what was made becomes a batch."""
    synthesis = _held(session, held)
    if synthesis is not None:
        import_made(session, synthesis)


def ring_if_due(session: Session) -> None:
    """Ring where an order is due: the doorbell may be lost, and so may a worker."""
    due = select(Synthesis.id).where(
        Synthesis.state == SynthesisState.RUNNING,
        Synthesis.next_try_at <= func.now(),
        Synthesis.lease_until.is_(None) | (Synthesis.lease_until < func.now()),
    )
    if session.scalar(due.limit(1)) is not None:
        enqueue(session, Job.MAKE_PROMPTS)


def _held(session: Session, held: Claim) -> Synthesis | None:
    query = select(Synthesis).where(
        Synthesis.id == held.synthesis_id,
        Synthesis.fencing_token == held.fencing_token,
        Synthesis.state == SynthesisState.RUNNING,
    )
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def _in(seconds: float) -> Any:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
