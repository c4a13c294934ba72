"""Held-out metrics, counted pair by pair.

Trainers average over batches, which weighs the pairs of a small last batch more; here every pair counts once. A pair
whose two sides come out equal counts one half, so that a model without an opinion scores 0.5. Accuracy is split by the
annotator's strength (a reward model should be surer where people were), and beside it stand the two signs of a model
that learnt length: the correlation of reward and length, and the accuracy of "the longer answer wins".
"""

import math
from collections.abc import Callable, Sequence

from training.data import Example

Metrics = dict[str, float]
# (token ids of sequences) -> one reward each; (examples) -> summed log-probabilities of (chosen, rejected) each
Score = Callable[[Sequence[list[int]]], list[float]]
Logps = Callable[[Sequence[Example]], list[tuple[float, float]]]


def reward_metrics(examples: Sequence[Example], score: Score) -> Metrics:
    """Metrics of a reward model; empty where nothing is held out."""
    if not examples:
        return {}
    chosen = score([example.prompt_ids + example.chosen.ids for example in examples])
    rejected = score([example.prompt_ids + example.rejected.ids for example in examples])
    lengths = [(sum(example.chosen.content), sum(example.rejected.content)) for example in examples]
    wins = [_win(better, worse) for better, worse in zip(chosen, rejected, strict=True)]
    return {
        **_accuracies(examples, wins),
        "held_out/reward_margin": _mean([better - worse for better, worse in zip(chosen, rejected, strict=True)]),
        "held_out/length_correlation": _pearson(
            [*chosen, *rejected], [float(length) for side in (0, 1) for length in (pair[side] for pair in lengths)]
        ),
        "held_out/longer_wins_accuracy": _mean([_win(better, worse) for better, worse in lengths]),
    }


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
    accuracies = _accuracies(examples, [_win(margin, 0.0) for margin in margins])
    return {
        **accuracies,
        "held_out/rewards/accuracies": accuracies["held_out/accuracy"],
        "held_out/rewards/margins": _mean(margins),
        "held_out/logp_accuracy": _mean([_win(chosen, rejected) for chosen, rejected in policy]),
    }


def _accuracies(examples: Sequence[Example], wins: Sequence[float]) -> Metrics:
    metrics = {"held_out/accuracy": _mean(wins), "held_out/pairs": float(len(wins))}
    for strength in (1, 2, 3, 4):
        of_strength = [win for example, win in zip(examples, wins, strict=True) if example.strength == strength]
        if of_strength:
            metrics[f"held_out/accuracy/strength_{strength}"] = _mean(of_strength)
            metrics[f"held_out/pairs/strength_{strength}"] = float(len(of_strength))
    return metrics


def _win(better: float, worse: float) -> float:
    return 0.5 if better == worse else float(better > worse)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _pearson(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Correlation in [-1, 1]; 0 where one side does not vary at all."""
    mean_x, mean_y = _mean(xs), _mean(ys)
    covariance = math.fsum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    spread = math.sqrt(math.fsum((x - mean_x) ** 2 for x in xs) * math.fsum((y - mean_y) ** 2 for y in ys))
    return covariance / spread if spread else 0.0
