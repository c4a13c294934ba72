"""What is reported of a model on held-out judgements: counted pair by pair, with intervals over prompts.

Trainers average over batches, which weighs the pairs of a small last batch more; here every pair counts once. A pair
whose two sides come out equal counts one half, so that a model without an opinion scores 0.5. Accuracy is split by the
annotator's strength (a reward model should be surer where people were), and beside it stand the signs of a model that
learnt length: the correlation of reward and length, and the accuracy of "the longer answer wins" and of its opposite.

A flat dictionary of numbers is what trainers log and checkpoints carry; `X/low` and `X/high` are the ends of the interval
of X (`training.measure.bootstrap`).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from training.data.rows import Example
from training.measure import bootstrap
from training.measure.bootstrap import Interval

Metrics = dict[str, float]
# (token ids of sequences) -> one reward each
Score = Callable[[Sequence[list[int]]], list[float]]
Intervals = dict[str, Interval]

CAPABILITY = "held_out/accuracy/capability/"
WITH_ENDS = tuple(
    f"held_out/{name}" for name in ("accuracy", "longer_wins_accuracy", "shorter_wins_accuracy", "logp_accuracy")
)


def reward_metrics(examples: Sequence[Example], score: Score) -> Metrics:
    """Metrics of a reward model; empty where nothing is held out."""
    if not examples:
        return {}
    chosen = score([example.prompt_ids + example.chosen.ids for example in examples])
    rejected = score([example.prompt_ids + example.rejected.ids for example in examples])
    lengths = [(sum(example.chosen.content), sum(example.rejected.content)) for example in examples]
    prompts = [tuple(example.prompt_ids) for example in examples]
    strengths = [example.strength for example in examples]
    found = of_rewards(prompts, strengths, chosen, rejected, lengths)
    wins = [win(better, worse) for better, worse in zip(chosen, rejected, strict=True)]
    found |= grouped(CAPABILITY, prompts, [example.capability for example in examples], wins)
    return flat(found) | _pairs(strengths)


def policy_metrics(
    examples: Sequence[Example],
    policy: Sequence[tuple[float, float]],
    reference: Sequence[tuple[float, float]],
    beta: float,
) -> Metrics:
    """Metrics of a policy; empty where nothing is held out.

    `policy` and `reference` are the summed log-probabilities of (chosen, rejected) for every example, in nats. The
    implicit reward of DPO is beta times their difference. Before training both are the same: accuracy 0.5, margin 0.
    """
    if not examples:
        return {}
    margins = [
        beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
        for (chosen, rejected), (ref_chosen, ref_rejected) in zip(policy, reference, strict=True)
    ]
    prompts = [tuple(example.prompt_ids) for example in examples]
    strengths = [example.strength for example in examples]
    wins = [win(margin, 0.0) for margin in margins]
    found = accuracies(prompts, strengths, wins)
    found |= grouped(CAPABILITY, prompts, [example.capability for example in examples], wins)
    found["held_out/rewards/margins"] = bootstrap.mean(prompts, margins)
    found["held_out/logp_accuracy"] = bootstrap.mean(prompts, [win(better, worse) for better, worse in policy])
    metrics = flat(found) | _pairs(strengths)
    return metrics | {"held_out/rewards/accuracies": metrics["held_out/accuracy"]}


def of_rewards(
    prompts: Sequence[Hashable],
    strengths: Sequence[int | None],
    chosen: Sequence[float],
    rejected: Sequence[float],
    lengths: Sequence[tuple[int, int]],
    **options: Any,
) -> Intervals:
    """What rewards of pairs say, `lengths` being the tokens of (chosen, rejected); `options` go to the bootstrap."""
    wins = [win(better, worse) for better, worse in zip(chosen, rejected, strict=True)]
    longer = [win(better, worse) for better, worse in lengths]
    margins = [better - worse for better, worse in zip(chosen, rejected, strict=True)]
    both = [float(length) for side in (0, 1) for length in (pair[side] for pair in lengths)]
    return {
        **accuracies(prompts, strengths, wins, **options),
        "held_out/reward_margin": bootstrap.mean(prompts, margins, **options),
        "held_out/length_correlation": bootstrap.correlated(
            [*prompts, *prompts], [*chosen, *rejected], both, **options
        ),
        "held_out/longer_wins_accuracy": bootstrap.mean(prompts, longer, **options),
        "held_out/shorter_wins_accuracy": bootstrap.mean(prompts, [1 - value for value in longer], **options),
    }


def accuracies(
    prompts: Sequence[Hashable], strengths: Sequence[int | None], wins: Sequence[float], **options: Any
) -> Intervals:
    """Accuracy overall and by strength."""
    found = {"held_out/accuracy": bootstrap.mean(prompts, wins, **options)}
    return found | grouped("held_out/accuracy/strength_", prompts, strengths, wins, **options)


def grouped(
    prefix: str, prompts: Sequence[Hashable], groups: Sequence[Any], values: Sequence[float], **options: Any
) -> Intervals:
    """The mean of each group under `prefix` and its name; items without a group are in none."""
    found = {}
    for group in sorted({group for group in groups if group is not None}):
        inside = [index for index, other in enumerate(groups) if other == group]
        found[f"{prefix}{group}"] = bootstrap.mean(
            [prompts[index] for index in inside], [values[index] for index in inside], **options
        )
    return found


def flat(found: Intervals) -> Metrics:
    """Numbers alone, with the ends of the interval where somebody decides by the number."""
    metrics = {name: interval.value for name, interval in found.items()}
    for name in WITH_ENDS:
        interval = found.get(name)
        if interval is not None and interval.low is not None and interval.high is not None:
            metrics |= {f"{name}/low": interval.low, f"{name}/high": interval.high}
    first = found.get("held_out/accuracy")
    return metrics | ({"held_out/prompts": float(first.prompts)} if first else {})


def win(better: float, worse: float) -> float:
    """1 where the first is larger, 0.5 for a draw."""
    return 0.5 if better == worse else float(better > worse)


def best_of(best: float, others: Sequence[float]) -> float:
    """1 where the best answer has the highest reward alone; shared among those that are level with it at the top."""
    highest = max(best, *others)
    return 0.0 if best < highest else 1 / (1 + sum(other == highest for other in others))


def _pairs(strengths: Sequence[int | None]) -> Metrics:
    known = sorted({strength for strength in strengths if strength is not None})
    counts = {f"held_out/pairs/strength_{strength}": float(strengths.count(strength)) for strength in known}
    return {"held_out/pairs": float(len(strengths))} | counts
