"""What the start page says: the reader's own work, and for reviewers and admins the loop and its next step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.queries import COUNT_UP_TO, OpenBatch, visible_batches
from app.batches.queries import Progress, batch_progress
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext, number
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState
from app.loops.queries import current_round
from app.prompts.models import Batch, BatchState
from app.registry.queries import EngineView, engine_view
from app.rounds.cards import Card
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
    engine: EngineView
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
        engine=engine_view(session, get_settings().engine_url),
        readiness=readiness(session, current) if current else None,
    )


def next_step(user: User, seen: Overview, waiting: int, contest: Card | None = None) -> Step | None:
    """What helps the loop most now, for this reader; ``contest`` is the open one, where they may see it."""
    is_admin = user.role is Role.ADMIN
    decisions = _decisions(seen) if is_admin else iter(())
    training = _training(seen) if is_admin else iter(())
    more = _more_prompts(seen) if is_admin else iter(())
    steps = itertools.chain(_running(seen), decisions, _contest(seen, contest), training, _work(seen, waiting), more)
    return next(steps, None)


def _running(seen: Overview) -> Iterator[Step]:
    state = seen.round.state if seen.round else None
    if state is RoundState.TRAINING:
        reason = _("The new policy is then measured, and compared by people with the champion.")
        yield Step(_("Training is running"), reason, "/rounds", _("Watch"), busy=True)
    if state is RoundState.CHECKING:
        reason = _("If nothing speaks against it, people compare it with the champion.")
        yield Step(_("The new policy is being measured"), reason, "/rounds", _("Watch"), busy=True)


def _decisions(seen: Overview) -> Iterator[Step]:
    """What only an admin can do so that people have work, the most pressing first."""
    if not seen.batches:
        yield Step(_("Upload prompts"), _("This round has no batch yet."), "/batches/new", _("New batch"))
    for batch, progress in seen.batches:
        if batch.state is BatchState.PREPARING and progress.total and (progress.far_ahead or not progress.unsettled):
            reason = _("Every prompt of “{batch}” has its responses.", batch=batch.name)
            if progress.far_ahead:
                reason = _(
                    "“{batch}” has enough responses to begin with; the others follow as people work.", batch=batch.name
                )
            yield Step(_("Open the batch"), reason, f"/batches/{batch.id}", _("Look at it"))


def _contest(seen: Overview, contest: Card | None) -> Iterator[Step]:
    """What decides the open contest: judgements, and prompts to judge."""
    if contest is None or contest.forecast is None or not contest.forecast.more:
        return
    decides = (
        ngettext("About {n} more judgement decides it", "About {n} more judgements decide it", contest.forecast.more)
        if contest.forecast.by_score
        else ngettext(
            "At most {n} more judgement decides it", "At most {n} more judgements decide it", contest.forecast.more
        )
    )
    challenger = contest.contest.challenger.name
    if any(_unfinished(batch, progress) for batch, progress in seen.batches):
        reason = _("Whether {name} becomes the champion.", name=challenger)
        yield Step(decides, reason, "/annotate", _("Annotate"))
    else:
        reason = _(
            "{decides}, whether {name} becomes the champion, and nothing waits.", decides=decides, name=challenger
        )
        yield Step(_("Upload prompts"), reason, "/batches/new", _("New batch"))


def _unfinished(batch: Batch, progress: Progress) -> bool:
    """Whether something of the batch is still to be judged."""
    return batch.state is BatchState.OPEN and (
        progress.unsettled > 0 or progress.annotations < progress.annotations_wanted
    )


def _training(seen: Overview) -> Iterator[Step]:
    ready = seen.readiness
    if ready and ready.blocked is None:
        title = ngettext(
            "Start a training: {n} new judgement", "Start a training: {n} new judgements", ready.new_annotations
        )
        reason = _("Up to {n} pairs to learn from.", n=number(ready.trainable))
        yield Step(title, reason, "/rounds", _("To the round"))


def _work(seen: Overview, waiting: int) -> Iterator[Step]:
    if waiting:
        title = (
            ngettext("{n} comparison waits", "{n} comparisons wait", waiting)
            if waiting < COUNT_UP_TO
            else _("{n}+ comparisons wait", n=number(COUNT_UP_TO))
        )
        yield Step(title, "", "/annotate", _("Annotate"))
    if any(progress.unsettled and not progress.far_ahead for _, progress in seen.batches):
        reason = _("Comparisons appear as their responses are ready.")
        yield Step(_("Responses are being generated"), reason, "/batches", _("Watch"), busy=True)


def _more_prompts(seen: Overview) -> Iterator[Step]:
    if seen.readiness and seen.readiness.blocked and not any(_unfinished(*each) for each in seen.batches):
        yield Step(_("Upload more prompts"), seen.readiness.blocked, "/batches/new", _("New batch"))
