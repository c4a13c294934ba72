"""What the start page says: the reader's own work, and for reviewers and admins the loop and its next step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.queries import COUNT_UP_TO, OpenBatch, visible_batches
from app.prompts.models import Batch, BatchState
from app.prompts.queries import EngineView, Progress, batch_progress, engine_view
from app.rounds.models import Round, RoundState
from app.rounds.queries import current_round
from app.rounds.readiness import Readiness, readiness


@dataclass(frozen=True)
class Step:
    """The next sensible thing to do."""

    title: str
    reason: str
    url: str
    action: str
    busy: bool = False
    """Whether something runs already and there is only watching to do."""


@dataclass(frozen=True)
class Overview:
    """The loop as it stands, for reviewers and admins."""

    round: Round | None
    batches: Sequence[tuple[Batch, Progress]]
    engine: EngineView | None
    readiness: Readiness | None


def open_batches(session: Session, user: User) -> list[OpenBatch]:
    """Open batches: those where ``user`` stopped first, then those with other work."""
    found = [each for each in visible_batches(session, user) if each.state is BatchState.OPEN]
    return sorted(found, key=lambda each: (not each.begun, not each.waiting))


def overview(session: Session) -> Overview:
    """The current round with its batches, the engine, and what there is to train on."""
    current = current_round(session)
    batches: Sequence[Batch] = []
    if current is not None:
        of_round = select(Batch).where(Batch.round_id == current.id).order_by(Batch.id.desc()).limit(20)
        batches = session.scalars(of_round).all()
    progress = batch_progress(session, [batch.id for batch in batches])
    return Overview(
        round=current,
        batches=[(batch, progress[batch.id]) for batch in batches],
        engine=engine_view(session),
        readiness=readiness(session, current) if current else None,
    )


def next_step(user: User, seen: Overview, waiting: int) -> Step | None:
    """What helps the loop most now, for this reader."""
    decisions = _decisions(seen) if user.role is Role.ADMIN else iter(())
    return next(itertools.chain(_running(seen), decisions, _work(seen, waiting)), None)


def _running(seen: Overview) -> Iterator[Step]:
    if seen.round is not None and seen.round.state is RoundState.TRAINING:
        reason = "The new policy joins the rotation when it is done."
        yield Step("Training is running", reason, "/rounds", "Watch", busy=True)


def _decisions(seen: Overview) -> Iterator[Step]:
    """What only an admin can do, the most pressing first."""
    if not seen.batches:
        yield Step("Upload prompts", "This round has no batch yet.", "/batches/new", "New batch")
    for batch, progress in seen.batches:
        if batch.state is BatchState.PREPARING and progress.total and not progress.unsettled:
            reason = f"Every prompt of “{batch.name}” has its responses."
            yield Step("Open the batch", reason, f"/batches/{batch.id}", "Look at it")
    if seen.readiness and seen.readiness.blocked is None:
        ready = seen.readiness
        reason = f"{ready.new_annotations} new annotations, up to {ready.trainable} pairs to train on."
        yield Step("Training is possible now", reason, "/rounds", "To the round")


def _work(seen: Overview, waiting: int) -> Iterator[Step]:
    if waiting:
        count = str(waiting) if waiting < COUNT_UP_TO else f"{COUNT_UP_TO}+"
        yield Step(f"{count} comparison{' waits' if waiting == 1 else 's wait'}", "", "/annotate", "Annotate")
    if any(progress.unsettled for _, progress in seen.batches):
        reason = "Comparisons appear as they are done."
        yield Step("Responses are being generated", reason, "/batches", "Watch", busy=True)
