"""The checks between a round's trainings and its contest: what is measured against what, and what came of it.

A round has one candidate more where there are policies before it: their average with the new one, which goes through the same
checks. Of those that none refuses the one challenges the champion that the reward model prefers.

A run of its own measures (``RunKind.CHECK``; its stages are in ``app.rounds.plan``), so it is watched, resumed and cancelled as
trainings are; it needs no engine. What it found is written in the transaction in which it succeeds, and
``app.rounds.service`` draws the conclusion.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_
from app.kernel.settings import get_settings
from app.loops.models import Round
from app.loops.queries import ENDED_COLLECTING
from app.preferences import prompt_lines
from app.registry import service as registry
from app.registry.models import Checkpoint, CheckpointKind, CheckpointState, LoopRole
from app.rounds import bounds, gate, plan
from app.rounds.bounds import Finding, Level, Report
from app.rounds.gate import Made
from app.rounds.models import Evaluation, InputRole, RunInput, RunKind, RunState, TrainingRun
from app.rounds.recipes import SEED
from training.formats.prompts import Split

log = structlog.get_logger()


def begin(session: Session, current: Round, attempt: Sequence[TrainingRun]) -> TrainingRun:
    """Queue the run that measures what ``attempt`` has trained, against what stands now."""
    first, policy = attempt[0], policy_of(attempt)
    base_id = first.config["base_id"]
    champion = registry.appointed(session, LoopRole.CHAMPION)
    averaged = _to_average(session, policy, first)
    run = TrainingRun(
        round_id=current.id,
        kind=RunKind.CHECK,
        snapshot_id=first.snapshot_id,
        after_run_id=attempt[-1].id,
        config=_config(session, current, first, policies=2 if averaged else 1),
        created_by_id=first.created_by_id,
    )
    session.add(run)
    session.flush()
    inputs = [
        *((InputRole.AVERAGED, key) for key in averaged),
        (InputRole.MEASURED, _made(attempt, RunKind.REWARD)),
        (InputRole.MEASURED, policy),
        (InputRole.AGAINST, champion.id if champion else base_id),
        (InputRole.AGAINST, _reward_before(session, current, base_id)),
    ]
    session.add_all(RunInput(run_id=run.id, role=role, checkpoint_id=key) for role, key in inputs if key is not None)
    session.flush()
    enqueue(session, Job.RUN_TRAINING, run.id)
    log.info("round_is_checked", round=current.number, run=run.id)
    return run


def _config(session: Session, current: Round, first: TrainingRun, *, policies: int) -> dict[str, Any]:
    settings, trained = get_settings(), first.config
    checked = prompt_lines.to_check(session, Split.HELD_OUT, settings.check_prompts)
    prompts = min(first.snapshot.held_out_rows or 0, settings.check_prompts) + checked
    return {
        "scope": N_("nothing: it measures on held-out prompts"),
        "base_id": trained["base_id"],
        "average": f"average-r{current.number}-{secrets.token_hex(4)}",
        "prompts": settings.check_prompts,
        "tokens": settings.check_tokens,
        **({"judge": settings.judge} if settings.judge else {}),
        "units": 2 * policies * prompts * settings.check_tokens,
        "run": {
            "kind": RunKind.CHECK.value,
            "recipe": trained["run"]["recipe"],
            "seed": SEED,
            "name": f"check-r{current.number}-{secrets.token_hex(4)}",
            "base_model": trained["run"]["base_model"],
            "data": {},
        },
    }


def policy_of(attempt: Sequence[TrainingRun]) -> int | None:
    """The policy that a chain of runs was for: what the last of those that train one has made."""
    return next((run.checkpoint_id for run in reversed(attempt) if run.kind.makes_policy), None)


def _made(attempt: Sequence[TrainingRun], kind: RunKind) -> int | None:
    return next((run.checkpoint_id for run in attempt if run.kind is kind), None)


def _to_average(session: Session, policy: int | None, first: TrainingRun) -> list[int | None]:
    """The new policy and those in charge before it, of the same base and recipe; none where it would be alone."""
    found = [policy]
    for role in (LoopRole.CHAMPION, LoopRole.PREVIOUS):
        before = registry.appointed(session, role)
        run = before and session.scalar(select(TrainingRun).where(TrainingRun.checkpoint_id == before.id))
        if before and run and before.id not in found and _line(run) == _line(first):
            found.append(before.id)
    return found if get_settings().training_average and len(found) > 1 else []


def _line(run: TrainingRun) -> tuple[int, str]:
    """What policies have to share so that their adapters can be averaged: the base and the recipe."""
    return run.config["base_id"], run.config["run"]["recipe"]


def _reward_before(session: Session, current: Round, base_id: int) -> int | None:
    """The newest reward model of an earlier round that step 1 did not refuse, trained from the same base."""
    refused = exists().where(Evaluation.checkpoint_id == Checkpoint.id, ~Evaluation.passed)
    query = (
        select(Checkpoint.id)
        .join(TrainingRun, TrainingRun.checkpoint_id == Checkpoint.id)
        .join(Round, Round.id == TrainingRun.round_id)
        .where(
            Round.id != current.id,
            Round.state.in_(ENDED_COLLECTING),
            TrainingRun.state == RunState.SUCCEEDED,
            Checkpoint.kind == CheckpointKind.REWARD,
            Checkpoint.state == CheckpointState.READY,
            Checkpoint.parent_id == base_id,
            ~refused,
        )
        .order_by(Round.number.desc(), Checkpoint.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def record(session: Session, run: TrainingRun, folder: Path) -> None:
    """Write down what a run that checks has measured, with what that means.

    Raises:
        NotPromotable: the average does not verify.
    """
    reward, policy = _read(folder / plan.REWARD_REPORT), _judged(folder, plan.POLICY_REPORT, plan.POLICY_JUDGED)
    head = _read(folder / plan.HEAD_REPORT) if (folder / plan.HEAD_REPORT).exists() else {}
    inputs = _inputs(session, run)
    for kind, report, found in (
        (True, {**reward, "head": head}, [*bounds.of_reward_model(reward), *bounds.of_head(head)]),
        (False, policy, bounds.of_policy(policy, reward)),
    ):
        checkpoint, against = inputs[InputRole.MEASURED, kind], inputs.get((InputRole.AGAINST, kind))
        session.add(_evaluation(run, checkpoint, against, report, found))
    if (folder / plan.AVERAGE_REPORT).exists():
        report = _judged(folder, plan.AVERAGE_REPORT, plan.AVERAGE_JUDGED)
        if "unmeasured" not in report:
            run.checkpoint_id = _register_average(session, run).id
            session.add(RunInput(run_id=run.id, role=InputRole.MEASURED, checkpoint_id=run.checkpoint_id))
            found = bounds.of_policy(report, reward)
            words = [replace(each, words=N_("The average: {finding}").format(finding=each.words)) for each in found]
            against = inputs.get((InputRole.AGAINST, False))
            session.add(_evaluation(run, run.checkpoint_id, against, report, words))
    session.flush()


def _evaluation(
    run: TrainingRun, checkpoint_id: int, against_id: int | None, report: Report, found: Sequence[Finding]
) -> Evaluation:
    return Evaluation(
        round_id=run.round_id,
        checkpoint_id=checkpoint_id,
        against_id=against_id,
        passed=not any(each.level is Level.REFUSES for each in found),
        findings=[each.to_json() for each in found],
        metrics=report,
    )


def _register_average(session: Session, run: TrainingRun) -> Checkpoint:
    made = Made(session, run, get_settings().checkpoints_dir / run.config["average"], Path())
    gate.judge((gate.on_the_current_base, gate.unchanged), made)
    product = gate.product(made)
    return registry.register_checkpoint(
        session,
        name=product.name,
        kind=product.kind,
        parent=session.get_one(Checkpoint, run.config["base_id"]),
        metrics=product.metrics,
        manifest_sha256=product.manifest_sha256,
    )


def _inputs(session: Session, run: TrainingRun) -> dict[tuple[InputRole, bool], int]:
    """What it measured and against what, by role and whether that is a reward model."""
    query = select(RunInput.role, Checkpoint.kind, Checkpoint.id).join(
        Checkpoint, Checkpoint.id == RunInput.checkpoint_id
    )
    found = session.execute(query.where(RunInput.run_id == run.id))
    return {(role, kind is CheckpointKind.REWARD): key for role, kind, key in found}


def _judged(folder: Path, report: str, judged: str) -> Report:
    """A report with the rates in which a judge of facts had a word, where there are any."""
    found, said = _read(folder / report), _read(folder / judged) if (folder / judged).exists() else {}
    overlaid = [name for name in ("before_metrics", "after_metrics", "compared") if name in said]
    return {**found, **{name: {**found.get(name, {}), **said[name]} for name in overlaid}}


def _read(report: Path) -> Report:
    body: Report = json.loads(report.read_text(encoding="utf-8"))
    return body


def refusals(session: Session, run: TrainingRun) -> list[str]:
    """Why nothing that ``run`` has checked may challenge, in words."""
    every = [Finding.of(each) for found, _ in _found_by(session, run) for each in found.findings]
    return [each.words for each in every if each.level is Level.REFUSES]


def candidate(session: Session, run: TrainingRun) -> Checkpoint | None:
    """Of the policies that ``run`` has checked and nothing refuses the one that wins most; the new one before an average."""
    measured = _found_by(session, run)
    if any(row.kind is CheckpointKind.REWARD and not found.passed for found, row in measured):
        return None
    passed = [(found, row) for found, row in measured if found.passed and row.kind is CheckpointKind.POLICY]
    best = max(passed, key=lambda each: _win_rate(each[0]), default=None)  # of equal ones the first
    return best[1] if best else None


def _found_by(session: Session, run: TrainingRun) -> Sequence[tuple[Evaluation, Checkpoint]]:
    query = (
        select(Evaluation, Checkpoint)
        .join(Checkpoint, Checkpoint.id == Evaluation.checkpoint_id)
        .join(RunInput, (RunInput.checkpoint_id == Evaluation.checkpoint_id) & (RunInput.role == InputRole.MEASURED))
        .where(RunInput.run_id == run.id, Evaluation.round_id == run.round_id)
        .order_by(Evaluation.id)
    )
    return session.execute(query).all()


def _win_rate(found: Evaluation) -> float:
    rate: float = found.metrics.get("compared", {}).get("win_rate", {}).get("value", 0.5)
    return rate
