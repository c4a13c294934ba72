"""Whether a training may start, and on how many pairs: asked by home, Rounds, the API and the start itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.settings import get_settings
from app.loops.models import Round, RoundState
from app.loops.queries import challenging_round
from app.preferences import prompt_lines, trainable
from app.rounds import learnt, plan, recent
from app.rounds.learnt import NO_OTHERS, Learnt, Weights
from app.rounds.minutes import Checkable, minutes, units
from app.rounds.models import RunKind
from app.rounds.recipes import MIN_STRENGTH, conflicts, recipe_problem
from training.formats.prompts import Split

MOST = 1_000
"""Prompts that are counted, at most."""


@dataclass(frozen=True)
class Readiness:
    """What a training would learn from, and the sentence that says why it cannot start yet.

    Pairs are those that training makes, edits among them, before it leaves out what is too long and what repeats a held-out
    prompt: it finds at most as many.
    """

    annotations: int
    new_annotations: int
    """Of this round: judged since the last snapshot that a round was trained on to its end (``app.rounds.recent``)."""
    taken_back: int
    """Annotations of that snapshot which count no more: a training without them is another one."""
    otherwise: bool
    """Whether private or unsafe texts are treated otherwise than in that snapshot."""
    trainable: int
    """Pairs that the reward model learns from."""
    policy: int
    """Pairs that the policy learns from."""
    written: int
    """Answers written from scratch that the fine-tuning imitates: they are in no pair."""
    held_out: int
    """Pairs, of every strength, that a result can be measured on."""
    needed: int
    checkable: int | None
    """Training prompts that say what an answer must come to; None where a training does not learn from checks."""
    units: dict[RunKind, int]
    """How much each run would read (``app.rounds.minutes``)."""
    sources: Sequence[Learnt]
    """What it would learn from beside what people said."""
    minutes: int
    """How long it would take from the reward model to the end of the check, as a guess."""
    blocked: str | None


def readiness(session: Session, current: Round, weights: Weights = NO_OTHERS) -> Readiness:
    """Judge what there is for ``current`` to train on, with these weights of sources in place of those that are set."""
    settings = get_settings()
    prompts = trainable.judged(session, settings.held_out_percent)
    name = settings.training_recipe
    by_reward, by_dpo = conflicts(RunKind.REWARD, name), conflicts(RunKind.DPO, name)
    checkable = Checkable(
        train=prompt_lines.to_check(session, Split.TRAIN, MOST) if plan.checks_wanted(settings) else 0,
        held_out=prompt_lines.to_check(session, Split.HELD_OUT, settings.check_prompts),
    )
    last = recent.last_snapshot(session)
    found = Readiness(
        annotations=trainable.standing(prompts),
        new_annotations=recent.judged(session, last),
        taken_back=recent.taken_back(session),
        otherwise=recent.otherwise(last),
        trainable=trainable.pairs(prompts, "reward", by_reward, MIN_STRENGTH),
        policy=trainable.pairs(prompts, "dpo", by_dpo, MIN_STRENGTH),
        written=trainable.written(prompts),
        held_out=trainable.held_out_pairs(prompts),
        needed=settings.training_min_pairs,
        checkable=checkable.train if plan.checks_wanted(settings) else None,
        units={},
        sources=_beside(session, weights),
        minutes=0,
        blocked=None,
    )
    planned = units(
        trainable=found.trainable,
        policy=found.policy,
        prompts=max(
            trainable.training_prompts(prompts), prompt_lines.to_train_on(session, settings.training_sample_prompts)
        ),
        held_out=found.held_out,
        checkable=checkable,
    )
    more = learnt.units(found.sources)
    planned = {kind: much + more.get(kind, 0) for kind, much in planned.items()}
    blocked = _blocked(current, challenging_round(session), found) or recipe_problem(settings)
    return replace(found, units=planned, minutes=minutes(session, planned), blocked=blocked)


def _beside(session: Session, weights: Weights) -> list[Learnt]:
    """Those that a run of the chain takes, each once."""
    found = (each for kind in plan.chain(get_settings()) for each in learnt.given(session, kind, weights))
    return list({each.source.id: each for each in found}.values())


def _blocked(current: Round, challenging: Round | None, found: Readiness) -> str | None:
    return under_way(current, challenging) or _too_little(found)


def under_way(current: Round, challenging: Round | None) -> str | None:
    """What a round does that keeps the next step from beginning, in words; None where it only collects."""
    if current.state is RoundState.TRAINING:
        return _("Round {round} is already training. Wait for it, or cancel it.", round=current.number)
    if current.state is RoundState.CHECKING:
        return _("Round {round} is being checked. Wait for it, or cancel it.", round=current.number)
    if challenging is not None:
        return _(
            "The policy of round {round} is in a contest with the champion. Wait for its verdict, or withdraw it from the "
            "contest.",
            round=challenging.number,
        )
    return None


def _too_little(found: Readiness) -> str | None:
    if not found.annotations:
        return _("There are no annotations yet. Annotate some comparisons first.")
    if found.trainable < found.needed:
        return _(
            "There are {pairs} pairs to train on, and {needed} are needed: pairs judged better or significantly better, on "
            "which most annotators of the prompt agree, from prompts that are not held out. Annotate some more comparisons.",
            pairs=number(found.trainable),
            needed=number(found.needed),
        )
    if not found.policy:
        return _(
            "There are {pairs} pairs for the reward model and none for the policy, which learns only from responses that no "
            "other response beat. Annotate some more comparisons.",
            pairs=number(found.trainable),
        )
    if not found.new_annotations and not found.taken_back and not found.otherwise:
        return _("There are no new annotations since the last training. Annotate some more comparisons.")
    return None
