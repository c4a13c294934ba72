"""HTML of rounds and training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field
from sqlalchemy.orm import Session

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role, User
from app.kernel.db import DbSession
from app.kernel.errors import BadInput
from app.kernel.locales import gettext as _
from app.kernel.paging import LARGEST
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState
from app.loops.queries import ENDED_COLLECTING
from app.preferences import trainable, treated
from app.preferences.forms import ExportFilter
from app.rounds import cards, choosing, contests, findings, learnt, mixing, plan, progress, queries, service, timeline
from app.rounds.acts import NOTHING_REFUSED, OVERRIDE, Act, Refused, of_round
from app.rounds.cards import Card
from app.rounds.choosing import Chosen
from app.rounds.contest_views import CONTEST_POLL_SECONDS, act
from app.rounds.findings import Measured
from app.rounds.gate import WORDS as GATE_WORDS
from app.rounds.learnt import Learnt
from app.rounds.mixing import Mix
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.progress import Column, Headline, Results
from app.rounds.readiness import Readiness, readiness
from app.rounds.steps import Step, steps
from app.rounds.timeline import RoundRow
from app.shell.web import is_exchange, redirect, render
from app.sources.forms import weight_of
from app.sources.models import Source
from training.formats.settings import MOST_WEIGHT

router = APIRouter()

POLL_SECONDS = 3
NOTHING: Mapping[int, str] = MappingProxyType({})

Id = Annotated[int, Field(ge=1, le=LARGEST)]


@dataclass(frozen=True)
class RoundsPage:
    """Context of ``rounds/rounds.html`` and of its fragment."""

    current: Round | None
    readiness: Readiness | None
    rows: list[RoundRow]
    steps: dict[int, list[Step]]
    """Of each round, by its id."""
    headlines: dict[int, Headline]
    nightly: datetime | None
    nightly_needs: int
    may_train: bool
    poll_seconds: int | None
    treated: Sequence[str]
    """What the next training does with private and unsafe texts."""
    offered: Sequence[Source]
    """Sources that the next training could learn from."""
    typed: Mapping[int, str]
    """Weights of sources as they were sent, where one was refused."""
    problem: str
    most_weight: float = MOST_WEIGHT


@dataclass(frozen=True)
class RoundPage:
    """Context of ``rounds/round.html``; ``cards`` are those of its contests that the reader may see."""

    row: RoundRow
    steps: list[Step]
    cards: list[Card]
    chosen: Chosen | None
    treated: Sequence[str]
    """What became of private and unsafe texts in the snapshot it was trained on."""
    mixes: list[tuple[TrainingRun, Mix]]
    headlines: dict[int, Headline]
    acts: list[Act]
    reason: str
    problem: str
    poll_seconds: int


@dataclass(frozen=True)
class RunPage:
    """Context of ``rounds/run.html`` and of the fragment ``rounds/_live.html``."""

    run: TrainingRun
    round: Round
    results: Results
    stage: str
    eta: str
    took: str
    data: list[tuple[str, int]]
    chosen: Chosen | None
    mix: Mix | None
    warnings: list[str]
    points: list[dict[str, Any]]
    columns: list[Column]
    snapshot_words: str
    sources: Sequence[Learnt]
    """What it learns from beside its snapshot."""
    gate_words: str
    measured: list[Measured]
    """By a run that checks, where the reader may see it."""
    log_shown: bool
    """What measures a policy prints how long its answers are, which a reviewer may not know before the verdict."""
    waits_for: int | None
    may_train: bool
    may_retry: bool
    poll_seconds: int | None


# ── Rounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/rounds")
def rounds_page(request: Request, session: DbSession, user: Reviewer) -> HTMLResponse:
    """The timeline, and what the next training would do."""
    return render(request, f"rounds/{'_rounds' if is_exchange(request) else 'rounds'}.html", _rounds(session, user))


@router.post("/rounds/train")
def train(
    request: Request,
    session: DbSession,
    user: Admin,
    source: Annotated[list[Id] | None, Form()] = None,
    weight: Annotated[list[str] | None, Form()] = None,
) -> Response:
    """Start a training; a weight that differs from what is set for its source holds for this one alone."""
    typed = dict(zip(source or (), weight or (), strict=False))
    try:
        weights = {number: weight_of(said) for number, said in typed.items()}
        first = service.start_training(session, user, learnt.others(session, weights))[0]
    except BadInput as error:
        page = _rounds(session, user, typed, error.message)
        return render(request, "rounds/rounds.html", page, status=422)
    return redirect(
        request, f"/runs/{first.id}", flash=_("The training is queued: reward model first, then the policy.")
    )


@router.get("/rounds/{number}")
def round_page(request: Request, session: DbSession, user: Reviewer, number: int) -> HTMLResponse:
    """One round with everything that belongs to it."""
    return _round(request, session, user, queries.access_round(session, user, number))


@router.post("/rounds/{number}/override")
def override(
    request: Request, session: DbSession, user: Admin, number: int, reason: Annotated[str, Form()] = ""
) -> Response:
    """Make the policy of a round that the gate refused the champion."""
    found = queries.access_round(session, user, number)
    again = partial(_round, request, session, user, found)
    return act(request, OVERRIDE, partial(contests.override, session, user, found), reason, again)


def _round(
    request: Request, session: Session, user: User, found: Round, refused: Refused = NOTHING_REFUSED
) -> HTMLResponse:
    [row] = timeline.rows(session, [found], user)
    page = RoundPage(
        row=row,
        steps=steps(row),
        cards=cards.of_round(session, user, row.round),
        chosen=choosing.of_round(session, row.round),
        treated=treated.of_snapshot(row.runs[0].snapshot) if row.runs else (),
        mixes=mixing.of_round(session, row.round),
        headlines=_headlines(row.runs),
        acts=of_round(user, found, refused.act),
        reason=refused.reason,
        problem=refused.problem,
        poll_seconds=CONTEST_POLL_SECONDS,
    )
    return render(request, "rounds/round.html", page, status=422 if refused.problem else 200)


def _rounds(session: Session, user: User, typed: Mapping[int, str] = NOTHING, problem: str = "") -> RoundsPage:
    rounds = timeline.list_rounds(session)
    current = next((found for found in rounds if found.state not in ENDED_COLLECTING), None)
    rows = timeline.rows(session, rounds, user)
    return RoundsPage(
        current=current,
        readiness=readiness(session, current) if current and current.state is RoundState.COLLECTING else None,
        rows=rows,
        steps={row.round.id: steps(row) for row in rows},
        headlines=_headlines([run for row in rows for run in row.runs]),
        nightly=next_nightly(datetime.now().astimezone()),
        nightly_needs=get_settings().nightly_min_annotations,
        may_train=user.role is Role.ADMIN,
        poll_seconds=POLL_SECONDS if current and current.state in {RoundState.TRAINING, RoundState.CHECKING} else None,
        treated=treated.chosen(trainable.selection()),
        offered=learnt.offered(session, plan.chain(get_settings())),
        typed=typed,
        problem=problem,
    )


def _headlines(runs: Sequence[TrainingRun]) -> dict[int, Headline]:
    return {run.id: progress.headline(run) for run in runs}


def next_nightly(now: datetime) -> datetime | None:
    """When the nightly start comes next, by the server's clock; None when it is turned off."""
    at = get_settings().nightly_at
    if not at:
        return None
    hour, minute = map(int, at.split(":"))
    tonight = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return tonight if tonight > now else tonight + timedelta(days=1)


# ── Runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
@router.get("/runs/{run_id}")
def run_page(request: Request, session: DbSession, user: Reviewer, run_id: int) -> HTMLResponse:
    """One run with its plots."""
    return render(request, "rounds/run.html", _run(session, user, run_id))


@router.get("/runs/{run_id}/live")
def live(request: Request, session: DbSession, user: Reviewer, run_id: int) -> HTMLResponse:
    """The part of the run's page that changes; its last state polls no more."""
    return render(request, "rounds/_live.html", _run(session, user, run_id))


@router.get("/runs/{run_id}/events.json")
def run_events(session: DbSession, user: Reviewer, run_id: int, after: int = -1) -> dict[str, Any]:
    """What the plots have not drawn yet."""
    run = queries.access_run(session, user, run_id)
    found = queries.events(session, run.id, after=after)
    return {
        "points": progress.points(found, run),
        "baseline": run.baseline.get("held_out/accuracy"),
        "last": found[-1].seq if found else after,
        "done": run.state not in queries.LIVE and len(found) < queries.EVENTS_LIMIT,
    }


@router.get("/runs/{run_id}/mix.json")
def run_mix(session: DbSession, user: Reviewer, run_id: int) -> dict[str, Any]:
    """What the run was trained on, by capability, language and source."""
    run = queries.access_run(session, user, run_id)
    return mixing.raw(queries.milestones(session, run.id))


@router.post("/runs/{run_id}/cancel")
def cancel(request: Request, session: DbSession, user: Admin, run_id: int) -> Response:
    """Stop a run."""
    service.cancel(session, user, queries.access_run(session, user, run_id))
    return redirect(request, f"/runs/{run_id}", flash=_("The run is being cancelled. Saved steps are kept."))


@router.post("/runs/{run_id}/retry")
def retry(request: Request, session: DbSession, user: Admin, run_id: int) -> Response:
    """Queue a run again."""
    service.retry(session, user, queries.access_run(session, user, run_id))
    return redirect(
        request, f"/runs/{run_id}", flash=_("The run is queued again. It resumes from its last saved step.")
    )


def _run(session: Session, user: User, run_id: int) -> RunPage:
    run = queries.access_run(session, user, run_id)
    said = queries.milestones(session, run.id)
    found = session.get_one(Round, run.round_id)
    attempt = queries.last_attempt(session, found) if found.state is RoundState.COLLECTING else ()
    took = run.finished_at - run.started_at if run.finished_at and run.started_at else None
    return RunPage(
        run=run,
        round=found,
        results=progress.results(run),
        stage=progress.stage(run, said),
        eta=progress.duration(progress.seconds_left(run, queries.recent_steps(session, run.id))),
        took=progress.duration(took.total_seconds() if took else None),
        data=progress.data_counts(said),
        chosen=choosing.of(said),
        mix=mixing.of(run.id, said),
        warnings=progress.warnings(said),
        points=progress.points(queries.events(session, run.id), run),
        columns=progress.columns(run.kind),
        snapshot_words=ExportFilter.model_validate(run.snapshot.filter).words(),
        sources=learnt.of_runs(session, [run.id]).get(run.id, ()),
        gate_words=_(GATE_WORDS),
        measured=findings.of_run(session, run) if findings.shown(user, found) else [],
        log_shown=run.kind is not RunKind.CHECK or findings.shown(user, found),
        waits_for=run.after_run_id if run.state is RunState.QUEUED else None,
        may_train=user.role is Role.ADMIN,
        may_retry=run.id in {other.id for other in attempt} and run.state in {RunState.FAILED, RunState.CANCELLED},
        poll_seconds=POLL_SECONDS if run.state in queries.LIVE else None,
    )
