"""Whether a training may start, and on how many pairs: asked by home, Rounds, the API and the start itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import BigInteger, func, select
from sqlalchemy.orm import Session

from app.annotations.models import STANDING, Annotation, Comparison, Purpose
from app.preferences import trainable
from app.preferences.models import Snapshot
from app.rounds.config import MIN_STRENGTH, conflicts, recipe_problem
from app.rounds.models import Round, RoundState, RunKind, RunState, TrainingRun
from app.settings import get_settings


@dataclass(frozen=True)
class Readiness:
    """What a training would learn from, and the sentence that says why it cannot start yet.

    Pairs are those that training makes, edits among them, before it leaves out what is too long and what repeats a held-out
    prompt: it finds at most as many.
    """

    annotations: int
    this_round: int
    """Annotations of the batches of the current round."""
    new_annotations: int
    """Since the last training that was completed."""
    trainable: int
    """Pairs that the reward model learns from."""
    for_policy: int
    """Pairs that a policy would learn from, of all rounds."""
    of_this_round: int
    """Those that the batches of the current round give alone."""
    other_rounds: bool
    """Whether anything was judged in other rounds."""
    held_out: int
    """Pairs, of every strength, that a result can be measured on."""
    needed: int
    blocked: str | None

    @property
    def own_round(self) -> bool:
        """Whether the policy learns from its own round alone, because that has pairs enough and is not everything."""
        return self.other_rounds and self.of_this_round >= get_settings().round_min_pairs

    @property
    def policy(self) -> int:
        """Pairs that the next policy learns from."""
        return self.of_this_round if self.own_round else self.for_policy


def readiness(session: Session, current: Round) -> Readiness:
    """Judge what there is for ``current`` to train on."""
    settings = get_settings()
    prompts = trainable.judged(session, settings.held_out_percent, current.number)
    name = settings.training_recipe
    by_reward, by_dpo = conflicts(RunKind.REWARD, name), conflicts(RunKind.DPO, name)
    found = Readiness(
        annotations=trainable.standing(prompts),
        this_round=trainable.standing(prompts, of_round=True),
        new_annotations=new_annotations(session),
        trainable=trainable.pairs(prompts, "reward", by_reward, MIN_STRENGTH),
        for_policy=trainable.pairs(prompts, "dpo", by_dpo, MIN_STRENGTH),
        of_this_round=trainable.pairs(prompts, "dpo", by_dpo, MIN_STRENGTH, of_round=True),
        other_rounds=trainable.in_other_rounds(prompts),
        held_out=trainable.held_out_pairs(prompts),
        needed=settings.training_min_pairs,
        blocked=None,
    )
    return replace(found, blocked=_blocked(current, found) or recipe_problem(settings))


def _blocked(current: Round, found: Readiness) -> str | None:
    if current.state is RoundState.TRAINING:
        return f"Round {current.number} is training already. Wait for it, or cancel it."
    if not found.annotations:
        return "There are no annotations yet. Annotate some comparisons first."
    if found.trainable < found.needed:
        return (
            f"There are {found.trainable} pairs to train on, and {found.needed} are needed: pairs that somebody called "
            "better or significantly better and that most annotators of the prompt agree on, on prompts that are not held "
            "out. Annotate some more comparisons."
        )
    if not found.policy:
        return (
            f"There are {found.trainable} pairs for the reward model and none for the policy, which learns only from "
            "responses that no other one beat. Annotate some more comparisons."
        )
    if not found.new_annotations:
        return "There are no new annotations since the last training. Annotate some more comparisons."
    return None


def new_annotations(session: Session) -> int:
    """Current annotations that no completed round has trained on."""
    trained_until = (
        select(func.coalesce(func.max(Snapshot.filter["until"].astext.cast(BigInteger)), 0))
        .join(TrainingRun, TrainingRun.snapshot_id == Snapshot.id)
        .join(Round, Round.id == TrainingRun.round_id)
        .where(Round.state == RoundState.COMPLETE, TrainingRun.state == RunState.SUCCEEDED)
        .scalar_subquery()
    )
    query = (
        select(func.count())
        .select_from(Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(STANDING, Comparison.purpose == Purpose.COLLECT, Annotation.id > trained_until)
    )
    return session.scalar(query) or 0
