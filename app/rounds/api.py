"""JSON of rounds and training runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.accounts.access import ApiAdmin, ApiReviewer, api_staff
from app.accounts.idempotency import TAKES_KEY, once
from app.kernel.db import DbSession
from app.kernel.paging import LARGEST, Cursor, Limit
from app.loops.models import RoundState, Verdict
from app.loops.queries import current_round, round_numbers
from app.rounds import learnt, mixing, queries, service, timeline
from app.rounds.learnt import Learnt
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.readiness import readiness
from app.rounds.timeline import RoundRow
from app.sources.forms import LearntJson, Weight
from training.formats.trainers import Trainer, trainer_of

router = APIRouter(tags=["training"])

Seq = Annotated[int, Query(ge=-1, le=2**31 - 1, description="The `last` of the answer before.")]

_RUN_EXAMPLE: dict[str, Any] = {
    "id": 7,
    "round": 2,
    "kind": "dpo",
    "trainer": "corral",
    "state": "succeeded",
    "snapshot_id": 3,
    "after_run_id": 6,
    "checkpoint": "policy-r2-5d8f01c2",
    "step": 62,
    "total_steps": 62,
    "baseline": {"held_out/accuracy": 0.5, "held_out/pairs": 15.0},
    "metrics": {"held_out/accuracy": 0.8, "held_out/pairs": 15.0},
    "learns_from": "all rounds",
    "sources": [],
    "error": None,
    "remedy": None,
    "created_at": "2026-11-23T02:30:00Z",
    "started_at": "2026-11-23T02:30:04Z",
    "finished_at": "2026-11-23T02:34:18Z",
}


class RunJson(BaseModel):
    """A training run. ``baseline`` is the untrained model on the held-out pairs, ``metrics`` what was measured last."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN_EXAMPLE]})

    id: int
    round: int
    kind: RunKind
    trainer: Trainer = Field(description="The trainer: Corral's own, or TRL's for this kind and loss.")
    state: RunState
    snapshot_id: int
    after_run_id: int | None
    checkpoint: str | None
    step: int
    total_steps: int | None
    baseline: dict[str, Any]
    metrics: dict[str, Any]
    learns_from: str
    sources: list[LearntJson] = Field(description="What it learns from beside its snapshot.")
    error: str | None
    remedy: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunList(BaseModel):
    """A page of runs, newest first; ``next`` is the ``before`` of the page that follows."""

    training_runs: list[RunJson]
    next: int | None


class StartedRuns(BaseModel):
    """What a start has queued, in the order it runs."""

    training_runs: list[RunJson]


class StartIn(BaseModel):
    """What is different in one training."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"weights": {"2": 0.5}}]})

    weights: dict[Annotated[int, Field(ge=1, le=LARGEST)], Weight] = Field(
        default_factory=dict,
        max_length=100,
        description="Weights of sources, by their ids, for this training alone: in place of those that are set.",
    )


class RunEventJson(BaseModel):
    """One line that a run said: a step, an evaluation, or what it read and found."""

    model_config = ConfigDict(from_attributes=True)

    seq: int = Field(examples=[41])
    event: str = Field(examples=["step"])
    step: int | None = Field(examples=[12])
    values: dict[str, Any] = Field(examples=[{"loss": 0.61}])
    at: datetime


class RunEventList(BaseModel):
    """Events in their order. Ask again with ``after`` = ``last`` until ``done``."""

    events: list[RunEventJson]
    last: int = Field(examples=[41])
    done: bool = Field(description="Whether the run has ended and nothing is left to read.")


class RoundJson(BaseModel):
    """A round with its batches, its annotations and its runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": 2,
                    "state": "collecting",
                    "verdict": None,
                    "verdict_reason": "",
                    "contest_id": None,
                    "batch_ids": [4, 5],
                    "annotations": 31,
                    "written": 0,
                    "training_run_ids": [],
                    "created_at": "2026-11-23T02:34:20Z",
                    "completed_at": None,
                }
            ]
        }
    )

    number: int
    state: RoundState
    verdict: Verdict | None = Field(description="How it ended; null before that.")
    verdict_reason: str
    contest_id: int | None = Field(description="Its gate's contest; reviewers see it once it is settled.")
    batch_ids: list[int]
    annotations: int = Field(description="Made in this round, whenever the responses were written.")
    written: int = Field(description="Of these, answers that were written from scratch.")
    training_run_ids: list[int]
    created_at: datetime
    completed_at: datetime | None


class RoundList(BaseModel):
    """Rounds, newest first, and what keeps a training from starting (null: nothing does)."""

    rounds: list[RoundJson]
    new_annotations: int = Field(description="Made since the last fully trained round, whatever its verdict.")
    trainable_pairs: int = Field(
        description="Pairs that the next reward model learns from, edits included, before training leaves out those "
        "that are too long or repeat a held-out prompt."
    )
    policy_pairs: int = Field(description="Pairs that the next policy learns from, counted the same way.")
    written_answers: int = Field(
        description="Answers that people wrote from scratch, which fine-tuning imitates; they are in no pair."
    )
    held_out_pairs: int = Field(description="Pairs for measuring the result, counted the same way.")
    sources: list[LearntJson] = Field(description="What the next training would learn from beside what people said.")
    minutes: int = Field(description="Estimate: from the start of a training to the end of its check.")
    blocked: str | None = Field(examples=["There are no annotations yet. Annotate some comparisons first."])


@router.get("/rounds")
def list_rounds(session: DbSession, user: ApiReviewer) -> RoundList:
    """The rounds, and whether the current one can be trained."""
    rounds = timeline.list_rounds(session)
    current = current_round(session)
    ready = readiness(session, current) if current else None
    return RoundList(
        rounds=[_round_json(row) for row in timeline.rows(session, rounds, user)],
        new_annotations=ready.new_annotations if ready else 0,
        trainable_pairs=ready.trainable if ready else 0,
        policy_pairs=ready.policy if ready else 0,
        written_answers=ready.written if ready else 0,
        held_out_pairs=ready.held_out if ready else 0,
        sources=[LearntJson.of(each.source, each.weight) for each in ready.sources] if ready else [],
        minutes=ready.minutes if ready else 0,
        blocked=ready.blocked if ready else "There is no round yet.",
    )


@router.get("/training-runs", dependencies=[Depends(api_staff)])
def list_training_runs(session: DbSession, before: Cursor = None, limit: Limit = 25) -> RunList:
    """Training runs, newest first."""
    page = queries.list_runs(session, before=before, limit=limit)
    return RunList(training_runs=_json(session, page.rows), next=page.next)


@router.post("/training-runs", status_code=202, response_model=StartedRuns, dependencies=[TAKES_KEY])
def start_training(request: Request, session: DbSession, user: ApiAdmin, wish: StartIn | None = None) -> Response:
    """Freeze a snapshot and queue the runs that train on it. Once all have succeeded, a run of the kind `check` is queued."""
    weights = wish.weights if wish else {}

    def work() -> StartedRuns:
        queued = service.start_training(session, user, weights)
        return StartedRuns(training_runs=_json(session, _reloaded(session, queued)))

    return once(session, user, request, wish.model_dump_json().encode() if wish and weights else b"", work, status=202)


@router.get("/training-runs/{run_id}")
def get_training_run(session: DbSession, user: ApiReviewer, run_id: int) -> RunJson:
    """One training run."""
    return _json(session, [queries.access_run(session, user, run_id)])[0]


@router.post("/training-runs/{run_id}/cancel", status_code=202, response_model=RunJson, dependencies=[TAKES_KEY])
def cancel_training_run(request: Request, session: DbSession, user: ApiAdmin, run_id: int) -> Response:
    """Cancel a run and what waits for it. A running one stops within seconds."""

    def work() -> RunJson:
        run = queries.access_run(session, user, run_id)
        service.cancel(session, user, run)
        return _json(session, _reloaded(session, [run]))[0]

    return once(session, user, request, b"", work, status=202)


@router.post("/training-runs/{run_id}/retry", status_code=202, response_model=RunJson, dependencies=[TAKES_KEY])
def retry_training_run(request: Request, session: DbSession, user: ApiAdmin, run_id: int) -> Response:
    """Queue a run that failed or was cancelled again, with those that waited for it. It resumes where it was saved."""

    def work() -> RunJson:
        run = queries.access_run(session, user, run_id)
        service.retry(session, user, run)
        return _json(session, _reloaded(session, [run]))[0]

    return once(session, user, request, b"", work, status=202)


@router.get("/training-runs/{run_id}/events")
def list_run_events(session: DbSession, user: ApiReviewer, run_id: int, after: Seq = -1) -> RunEventList:
    """What a run has said of itself, oldest first."""
    run = queries.access_run(session, user, run_id)
    found = queries.events(session, run.id, after=after)
    return RunEventList(
        events=[RunEventJson.model_validate(each) for each in found],
        last=found[-1].seq if found else after,
        done=run.state not in queries.LIVE and len(found) < queries.EVENTS_LIMIT,
    )


@router.get("/training-runs/{run_id}/mix")
def get_run_mix(session: DbSession, user: ApiReviewer, run_id: int) -> dict[str, Any]:
    """What a run was trained on, by capability, language and source; empty before it has read its data."""
    run = queries.access_run(session, user, run_id)
    return mixing.raw(queries.milestones(session, run.id))


def _reloaded(session: Session, runs: Sequence[TrainingRun]) -> Sequence[TrainingRun]:
    """With what the database filled in: times and defaults."""
    return queries.runs_by_id(session, [run.id for run in runs])


def _json(session: Session, runs: Sequence[TrainingRun]) -> list[RunJson]:
    numbers = round_numbers(session, {run.round_id for run in runs})
    beside = learnt.of_runs(session, [run.id for run in runs])
    return [_run_json(run, numbers[run.round_id], beside.get(run.id, ())) for run in runs]


def _run_json(run: TrainingRun, number: int, beside: Sequence[Learnt]) -> RunJson:
    others = {"round", "trainer", "checkpoint", "learns_from", "sources"}
    fields = {name: getattr(run, name) for name in RunJson.model_fields if name not in others}
    return RunJson(
        **fields,
        round=number,
        trainer=trainer_of(run.trained_by),
        checkpoint=run.checkpoint.name if run.checkpoint else None,
        learns_from=run.config["scope"],
        sources=[LearntJson.of(each.source, each.weight) for each in beside],
    )


def _round_json(row: RoundRow) -> RoundJson:
    return RoundJson(
        number=row.round.number,
        state=row.round.state,
        verdict=row.round.verdict,
        verdict_reason=row.round.verdict_reason,
        contest_id=row.contest.id if row.contest else None,
        batch_ids=[batch_id for batch_id, _ in row.batches],
        annotations=row.annotations,
        written=row.written,
        training_run_ids=[run.id for run in row.runs],
        created_at=row.round.created_at,
        completed_at=row.round.completed_at,
    )
