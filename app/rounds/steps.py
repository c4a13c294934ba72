"""A round as its steps with their numbers: collecting, training, checking, contest, verdict."""

from __future__ import annotations

from dataclasses import dataclass

from app.loops.models import RoundState, Verdict
from app.rounds import cards
from app.rounds.findings import Measured
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.progress import headline
from app.rounds.timeline import RoundRow

ORDER = list(RoundState)


@dataclass(frozen=True)
class Step:
    """One step: ``status`` is ``done``, ``now``, ``ahead``, or ``skipped`` where the round ended before it."""

    title: str
    status: str
    words: str


def steps(row: RoundRow) -> list[Step]:
    """Every step of a round, with what it came to."""
    said = {
        RoundState.COLLECTING: _collected(row),
        RoundState.TRAINING: _trained(row),
        RoundState.CHECKING: _checked(row),
        RoundState.CHALLENGING: _contested(row),
        RoundState.COMPLETE: _verdict(row),
    }
    return [
        Step("Verdict" if state is RoundState.COMPLETE else state.label.capitalize(), _status(row, state), said[state])
        for state in ORDER
    ]


def _status(row: RoundRow, state: RoundState) -> str:
    now = row.round.state
    if state in {RoundState.TRAINING, RoundState.CHECKING} and row.contest is not None and not row.runs:
        return "skipped"  # its policy was trained elsewhere
    if state is now:
        return "done" if now is RoundState.COMPLETE else "now"
    if ORDER.index(state) > ORDER.index(now):
        return "ahead"
    came_to_nothing = (state is RoundState.CHECKING and not row.measured) or (
        state is RoundState.CHALLENGING and row.contest is None
    )
    return "skipped" if now is RoundState.COMPLETE and came_to_nothing else "done"


def _collected(row: RoundRow) -> str:
    batches = f"{len(row.batches)} batch{'' if len(row.batches) == 1 else 'es'}"
    return f"{row.annotations:,} annotation{'' if row.annotations == 1 else 's'} of {batches}"


def _trained(row: RoundRow) -> str:
    """The newest run of each kind; earlier attempts are in the list of runs."""
    newest: dict[RunKind, TrainingRun] = {}
    for run in row.runs:  # newest first
        newest.setdefault(run.kind, run)
    reward = newest.get(RunKind.REWARD)
    if reward is None:
        return ""
    working = next((run for run in newest.values() if run.state is not RunState.SUCCEEDED), None)
    if working is not None:
        step = f", step {working.step} of {working.total_steps}" if working.total_steps else ""
        return f"run {working.id} {working.state.value}{step}"
    result = headline(reward).result
    return f"reward model right on {result.percent} of held-out pairs" if result else "no held-out pairs to measure on"


def _checked(row: RoundRow) -> str:
    if row.kept_back:
        return "only for admins until the verdict"
    refused = [finding for each in row.measured for finding in each.findings if finding.level == "refuses"]
    warnings = sum(finding.level == "warns" for each in row.measured for finding in each.findings)
    if refused:
        return "; ".join(finding.words for finding in refused)
    return _passed(row.measured, warnings) if row.measured else ""


def _passed(measured: list[Measured], warnings: int) -> str:
    passed = "passed" if any(each.passed for each in measured) else "refused"
    return f"{passed} with {warnings} warning{'' if warnings == 1 else 's'}" if warnings else passed


def _contested(row: RoundRow) -> str:
    contest = row.contest
    if contest is None:
        return "only for admins until the verdict" if row.kept_back else ""
    rate = cards.rate_of(contest)
    if rate is None:
        return f"against {contest.champion.name}; no vote yet"
    return f"{rate} against {contest.champion.name}, {contest.counted:,} prompts, evidence {cards.evidence(contest.log_e):,.1f}"


def _verdict(row: RoundRow) -> str:
    verdict = row.round.verdict
    if verdict is None:
        return "ended before verdicts existed" if row.round.state is RoundState.COMPLETE else ""
    return f"{verdict.label}{'' if verdict is Verdict.PROMOTED else f': {row.round.verdict_reason}'}".rstrip(": ")
