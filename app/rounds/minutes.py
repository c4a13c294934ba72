"""How long a training will take, said before it starts: by what the last one took here, else by a laptop's pace.

A guess, and called one. What a run takes grows with what it reads: pairs, or tokens to generate. So an earlier run's time is
taken for as much of that as there is now; a run keeps in its configuration how much it was (``units``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.kernel.settings import Settings, get_settings
from app.rounds import plan
from app.rounds.models import RunKind, RunState, TrainingRun
from app.rounds.recipes import RECIPES, recipe

LAPTOP = {
    RunKind.REWARD: (40, 1.6),
    RunKind.SFT: (60, 0.006),
    RunKind.DPO: (40, 2.2),
    RunKind.GRPO: (60, 0.03),
    RunKind.CHECK: (60, 0.022),
}
"""Seconds to begin with, and for each unit: rough values for SmolLM2-135M on two cores, until a round has taken its own."""


@dataclass(frozen=True)
class Checkable:
    """Prompts that say what an answer must come to: of training, and held out."""

    train: int = 0
    held_out: int = 0


def units(
    *, trainable: int, policy: int, prompts: int, held_out: int, checkable: Checkable = Checkable()
) -> dict[RunKind, int]:
    """How much each run of a round would read: pairs, or at most so many tokens of answers.

    Args:
        trainable: Pairs for the reward model.
        policy: Pairs for the policy.
        prompts: Training prompts.
        held_out: Held-out prompts, or pairs where those are not counted.
        checkable: Of those that can be checked; without any to train on there is no learning from checks.
    """
    settings = get_settings()
    sampled = (
        min(prompts, settings.training_sample_prompts) * settings.training_samples * settings.training_sample_tokens
    )
    found = {RunKind.REWARD: trainable, RunKind.SFT: sampled, RunKind.DPO: policy}
    kinds = plan.chain(settings)
    if RunKind.GRPO in kinds:
        found[RunKind.GRPO] = _drawn(settings, checkable) if checkable.train else 0
        kinds = [kind for kind in kinds if kind is not RunKind.GRPO or checkable.train]
    policies = 2 if settings.training_average else 1
    asked = min(held_out, settings.check_prompts) + min(checkable.held_out, settings.check_prompts)
    answered = 2 * policies * asked * settings.check_tokens
    return {kind: found[kind] for kind in kinds} | {RunKind.CHECK: answered}


def _drawn(settings: Settings, checkable: Checkable) -> int:
    """Tokens that learning from checks draws at most: of its steps, and of what is measured before and after."""
    file = RECIPES / f"{RunKind.GRPO.value}.{settings.training_recipe}.toml"
    if not file.is_file():  # said elsewhere, before anything starts
        return 0
    its = recipe(RunKind.GRPO, settings.training_recipe)
    answers = settings.training_checked_steps * its["prompts"] * its["answers"]
    return int((answers + 2 * min(checkable.held_out, its["held_out"])) * settings.check_tokens)


def minutes(session: Session, planned: Mapping[RunKind, int]) -> int:
    """Minutes from the reward model to the end of the check; 1 at least."""
    return max(1, round(sum(_seconds(session, kind, much) for kind, much in planned.items()) / 60))


def _seconds(session: Session, kind: RunKind, much: int) -> float:
    query = select(TrainingRun.started_at, TrainingRun.finished_at, TrainingRun.config["units"].as_integer()).where(
        TrainingRun.kind == kind,
        TrainingRun.state == RunState.SUCCEEDED,
        TrainingRun.started_at.is_not(None),
        TrainingRun.finished_at.is_not(None),
        TrainingRun.config["run"]["recipe"].astext == get_settings().training_recipe,
        TrainingRun.config["units"].as_integer() > 0,
    )
    last = session.execute(query.order_by(TrainingRun.id.desc()).limit(1)).one_or_none()
    if last is None:
        start, pace = LAPTOP[kind]
        return start + pace * much
    started, finished, then = last
    taken = float((finished - started).total_seconds())
    return taken * max(much, 1) / float(then)
