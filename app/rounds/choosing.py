"""What became of the answers that were sampled for imitation, as pages say it: what was dropped, and what checks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.loops.models import Round
from app.rounds.models import RunKind, TrainingEvent, TrainingRun

EVENT = "chosen"
"""What ``training.selection`` says once it has chosen."""
COUNTED = {
    "prompts": N_("prompts sampled"),
    "samples": N_("answers sampled"),
    "rows/rejection_sampling": N_("sampled answers trained on"),
    "rows/correction": N_("corrected answers trained on"),
    "solutions": N_("prompts to which a solution was written"),
    "solutions_dropped": N_("solutions dropped"),
    "solutions_corrected": N_("solutions corrected"),
    "rows/solution": N_("solutions trained on"),
    "rows/refusal": N_("refusals trained on"),
    "rows/human": N_("answers written from scratch trained on"),
    "rows/human_edit": N_("edits trained on"),
    "steps_measured": N_("answers read step by step"),
    "verifier_pairs": N_("pairs of a right and a wrong answer"),
    "rows/preferred": N_("preferred responses trained on"),
}
DROPPED = {
    "held_out_prompt": N_("the prompt is held out"),
    "contaminated": N_("the prompt repeats a held-out one"),
    "empty": N_("empty"),
    "truncated": N_("cut off"),
    "repetition": N_("repetitive"),
    "emoji": N_("many emoji"),
    "exclamations": N_("many exclamation marks"),
    "apologies": N_("many apologies"),
    "language": N_("another language than the question"),
    "same_text": N_("the same text twice"),
    "calls_unfinished": N_("it ends with a call of a tool"),
    "calls_not_run": N_("a call of a tool did not run"),
    "wrong_step": N_("a step is probably wrong"),
    "refusal_instead": N_("all answers to the prompt claim what is wrong, so a refusal is learnt instead"),
    "unrenderable": N_("the model’s template refuses them"),
    "too_long": N_("too long"),
    "not_the_best": N_("another answer has a higher reward"),
    "below_top_share": N_("the reward is not among the highest"),
    "near_duplicate": N_("nearly the same as another"),
}


@dataclass(frozen=True)
class CheckedBy:
    """How many answers one verifier found right and wrong, and how many it could not check."""

    verifier: str
    passed: int
    failed: int
    unchecked: int


@dataclass(frozen=True)
class Chosen:
    """What became of the samples of one run; ``unavailable`` says why nothing was checked, where nothing was."""

    counts: list[tuple[str, int]]
    dropped: list[tuple[str, int]]
    checks: list[CheckedBy]
    solved: int
    unsolved: int
    unavailable: str | None


def of(said: Sequence[TrainingEvent]) -> Chosen | None:
    """By what a run said; None before it has chosen, and of a run that does not choose. A run that chose again said so last."""
    last = next((event.values for event in reversed(said) if event.event == EVENT), None)
    return None if last is None else _read(last)


def of_round(session: Session, found: Round) -> Chosen | None:
    """By the newest run of a round that has chosen."""
    return _newest(session, TrainingRun.round_id == found.id)


def of_snapshot(session: Session, snapshot_id: int) -> Chosen | None:
    """By the newest run that has chosen among answers to the prompts of a snapshot."""
    return _newest(session, TrainingRun.snapshot_id == snapshot_id)


def _newest(session: Session, which: ColumnElement[bool]) -> Chosen | None:
    query = (
        select(TrainingEvent)
        .join(TrainingRun, TrainingRun.id == TrainingEvent.run_id)
        .where(which, TrainingRun.kind == RunKind.SFT, TrainingEvent.event == EVENT)
        .order_by(TrainingEvent.run_id.desc(), TrainingEvent.seq.desc())
        .limit(1)
    )
    return of(session.scalars(query).all())


def _read(said: Mapping[str, Any]) -> Chosen:
    counts, checks = said.get("counts", {}), said.get("checks", {})
    dropped = {_words(reason): count for reason, count in said.get("dropped", {}).items() if count}
    return Chosen(
        counts=[(_(words), counts[name]) for name, words in COUNTED.items() if name in counts],
        dropped=sorted(dropped.items(), key=lambda each: -each[1]),
        checks=[
            CheckedBy(name, *(found.get(side, 0) for side in ("passed", "failed", "unchecked")))
            for name, found in checks.get("verifiers", {}).items()
        ],
        solved=counts.get("solved", 0),
        unsolved=counts.get("unsolved", 0),
        unavailable=checks.get("unavailable"),
    )


def _words(reason: str) -> str:
    kind, _slash, verifier = reason.partition("/")
    if kind == "failed":
        return _("failed the check {verifier}", verifier=verifier)
    if kind == "unchecked":
        return _("{verifier} could not check them, and another answer passed", verifier=verifier)
    return _(DROPPED.get(reason, reason.replace("_", " ")))
