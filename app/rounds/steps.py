"""A round as its steps with their numbers: collecting, training, checking, contest, verdict."""

from __future__ import annotations

from dataclasses import dataclass

from app.kernel.locales import N_, ngettext, number
from app.kernel.locales import gettext as _
from app.kernel.stored_words import said
from app.loops.models import RoundState, Verdict
from app.rounds import cards
from app.rounds.findings import Measured
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.progress import headline
from app.rounds.timeline import RoundRow

ORDER = list(RoundState)
TITLES = {
    RoundState.COLLECTING: N_("Collecting"),
    RoundState.TRAINING: N_("Training"),
    RoundState.CHECKING: N_("Checking"),
    RoundState.CHALLENGING: N_("In contest"),
    RoundState.COMPLETE: N_("Verdict"),
}


@dataclass(frozen=True)
class Step:
    """One step: ``status`` is ``done``, ``now``, ``ahead``, or ``skipped`` where the round ended before it."""

    title: str
    status: str
    words: str


def steps(row: RoundRow) -> list[Step]:
    """Every step of a round, with what it came to."""
    words = {
        RoundState.COLLECTING: _collected(row),
        RoundState.TRAINING: _trained(row),
        RoundState.CHECKING: _checked(row),
        RoundState.CHALLENGING: _contested(row),
        RoundState.COMPLETE: _verdict(row),
    }
    return [Step(_(TITLES[state]), _status(row, state), words[state]) for state in ORDER]


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
    return _(
        "{annotations} of {batches}",
        annotations=ngettext("{n} annotation", "{n} annotations", row.annotations),
        batches=ngettext("{n} batch", "{n} batches", len(row.batches)),
    )


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
        if not working.total_steps:
            return _("run {run} {state}", run=working.id, state=working.state.label)
        return _(
            "run {run} {state}, step {step} of {steps}",
            run=working.id,
            state=working.state.label,
            step=working.step,
            steps=working.total_steps,
        )
    result = headline(reward).result
    if result is None:
        return _("no held-out pairs to measure on")
    return _("reward model right on {share} of held-out pairs", share=result.percent)


def _checked(row: RoundRow) -> str:
    if row.kept_back:
        return _("only for admins until the verdict")
    refused = [finding for each in row.measured for finding in each.findings if finding.level == "refuses"]
    warnings = sum(finding.level == "warns" for each in row.measured for finding in each.findings)
    if refused:
        return "; ".join(finding.words for finding in refused)
    return _passed(row.measured, warnings) if row.measured else ""


def _passed(measured: list[Measured], warnings: int) -> str:
    if any(each.passed for each in measured):
        return ngettext("passed with {n} warning", "passed with {n} warnings", warnings) if warnings else _("passed")
    return ngettext("refused with {n} warning", "refused with {n} warnings", warnings) if warnings else _("refused")


def _contested(row: RoundRow) -> str:
    contest = row.contest
    if contest is None:
        return _("only for admins until the verdict") if row.kept_back else ""
    rate = cards.rate_of(contest)
    if rate is None:
        return _("against {champion}; no vote yet", champion=contest.champion.name)
    return _(
        "{rate} against {champion}, {n} prompts, evidence {evidence}",
        rate=rate,
        champion=contest.champion.name,
        n=number(contest.counted),
        evidence=number(cards.evidence(contest.log_e), 1),
    )


def _verdict(row: RoundRow) -> str:
    verdict = row.round.verdict
    if verdict is None:
        return _("ended before verdicts existed") if row.round.state is RoundState.COMPLETE else ""
    if verdict is Verdict.PROMOTED or not row.round.verdict_reason:
        return verdict.label
    return _("{verdict}: {reason}", verdict=verdict.label, reason=said(row.round.verdict_reason))
