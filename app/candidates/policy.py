"""Who samples: how the candidates of one prompt are spread over the deployments in rotation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.registry.models import Deployment
from app.registry.queries import checkpoint_weights


@dataclass(frozen=True)
class Draw:
    """``n`` samples from one deployment."""

    deployment: Deployment
    n: int


def draw(prompt_id: int, wanted: int, deployments: Sequence[Deployment]) -> list[Draw]:
    """Spread ``wanted`` samples over ``deployments``: different checkpoints first, then by share.

    Every checkpoint is drawn once before any is drawn twice, because a comparison of two models says more than one of
    two samplings (the Llama 3 recipe takes two different models per prompt). Further samples go where the share is
    least used. Remainders are balanced over prompts by a draw that is seeded with the prompt: a retry asks the same.
    """
    dice = random.Random(prompt_id)  # noqa: S311 - reproducible on purpose, and nobody gains by guessing it
    weights = checkpoint_weights(deployments)
    luck = {checkpoint: dice.random() for checkpoint in sorted(weights)}
    inner_luck = {deployment.id: dice.random() for deployment in sorted(deployments, key=lambda d: d.id)}
    used = dict.fromkeys(weights, 0)
    taken = dict.fromkeys(inner_luck, 0)
    for _ in range(wanted if deployments else 0):
        checkpoint = min(used, key=lambda c: (used[c] > 0 and 0 in used.values(), (used[c] + luck[c]) / weights[c], c))
        inner = [deployment for deployment in deployments if deployment.checkpoint_id == checkpoint]
        chosen = min(inner, key=lambda d: ((taken[d.id] + inner_luck[d.id]) / d.share, d.id))
        used[checkpoint] += 1
        taken[chosen.id] += 1
    return [Draw(deployment, taken[deployment.id]) for deployment in deployments if taken[deployment.id]]


SAMPLING_KEYS = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "seed",
        "stop",
    }
)
"""What a deployment or a batch may say about sampling; everything else in a request is ours."""


def sampling_of(deployment: Deployment, overrides: dict[str, Any]) -> dict[str, Any]:
    """The deployment's sampling with the batch's own on top."""
    merged = {**deployment.sampling, **overrides}
    return {name: value for name, value in merged.items() if name in SAMPLING_KEYS and value is not None}
