"""What the gate measured of a round's policies before people saw them, as pages say it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.stored_words import said
from app.loops.models import Round, RoundState
from app.registry.models import Checkpoint
from app.rounds import bounds
from app.rounds.models import Contest, Evaluation, InputRole, RunInput, TrainingRun

LEVELS = ("refuses", "warns", "passed")
"""Of a finding, the gravest first."""


_MEASURED = (
    select(Evaluation, Checkpoint.name)
    .join(Checkpoint, Checkpoint.id == Evaluation.checkpoint_id)
    .order_by(Evaluation.id)
)


@dataclass(frozen=True)
class Finding:
    """One thing that was measured: whether it ``refuses``, ``warns`` or ``passed``, and the sentence that says so."""

    level: str
    words: str


@dataclass(frozen=True)
class Measured:
    """What one checkpoint was measured at; the findings that matter most first."""

    checkpoint: str
    passed: bool
    findings: list[Finding]


@dataclass(frozen=True)
class Solved:
    """How many held-out prompts of a capability two policies solve, by the checks; shares with their intervals, in words."""

    capability: str
    prompts: int
    challenger: str
    champion: str
    difference: str


def solved(session: Session, contest: Contest) -> list[Solved]:
    """By capability, as the gate measured it before the contest; none where nothing was checked."""
    query = select(Evaluation.metrics).where(
        Evaluation.round_id == contest.round_id,
        Evaluation.checkpoint_id == contest.challenger_id,
        Evaluation.against_id == contest.champion_id,
    )
    report = session.scalar(query.order_by(Evaluation.id.desc()).limit(1)) or {}
    found = []
    for capability, gain in bounds.verified_gains(report):
        name = f"{bounds.VERIFIED}/{capability}"
        new, old = (said(bounds.share(report[f"{side}_metrics"][name])) for side in ("after", "before"))
        found.append(Solved(capability, gain["prompts"], new, old, said(bounds.points(gain))))
    return found


def shown(user: User, found: Round) -> bool:
    """Whether ``user`` may see what a round's policy was measured at.

    A reviewer judges as well: that the challenger answers at greater length would tell which answer is whose.
    """
    return user.role is Role.ADMIN or (user.role is Role.REVIEWER and found.state is RoundState.COMPLETE)


def of_rounds(session: Session, rounds: Collection[int]) -> dict[int, list[Measured]]:
    """By round, in the order in which they were measured."""
    found: dict[int, list[Measured]] = {}
    for evaluation, name in session.execute(_MEASURED.where(Evaluation.round_id.in_(rounds))):
        measured = Measured(name, evaluation.passed, _read(evaluation.findings))
        found.setdefault(evaluation.round_id, []).append(measured)
    return found


def of_run(session: Session, run: TrainingRun) -> list[Measured]:
    """By a run that checks, in the order in which they were measured; nothing before it has ended."""
    by_run = (RunInput.checkpoint_id == Evaluation.checkpoint_id) & (RunInput.role == InputRole.MEASURED)
    query = _MEASURED.join(RunInput, by_run).where(RunInput.run_id == run.id, Evaluation.round_id == run.round_id)
    return [Measured(name, each.passed, _read(each.findings)) for each, name in session.execute(query)]


def _read(stored: list[Any]) -> list[Finding]:
    found = [Finding(each.get("level", "passed"), said(each["words"])) for each in stored if each.get("words")]
    return sorted(found, key=lambda each: LEVELS.index(each.level) if each.level in LEVELS else len(LEVELS))
