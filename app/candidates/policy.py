"""Who samples: how the candidates of one prompt are spread over the deployments in rotation."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.registry.externals import UNDERSTOOD
from app.registry.models import CheckpointKind, Deployment
from app.registry.rotation import Rotation


@dataclass(frozen=True)
class Draw:
    """``n`` samples from one deployment."""

    deployment: Deployment
    n: int


def draw(prompt_id: int, wanted: int, rotation: Rotation) -> list[Draw]:
    """Spread ``wanted`` samples over the champion and, by :meth:`Rotation.beside`, one other: half each.

    One other a prompt, so that a policy with a small share is met on few prompts whole, not on every prompt a little; and
    two different models a prompt, as in the Llama 3 recipe, because that says more than two samplings of one. All of it,
    who takes an odd one too, is seeded with the prompt: a retry asks the same.
    """
    if rotation.champion is None:
        return []
    dice = random.Random(prompt_id)  # noqa: S311 - reproducible on purpose, and nobody gains by guessing it
    other = _other(dice.random(), rotation.beside())
    odd = wanted % 2 if dice.random() < 0.5 else 0
    second = 0 if other is None else wanted // 2 + odd
    taken: dict[int, int] = {}
    for checkpoint, n in ((rotation.champion, wanted - second), (other, second)):
        taken |= _over_samplings(dice, rotation.of(checkpoint), n)
    return [Draw(each, taken[each.id]) for each in rotation.deployments if taken.get(each.id)]


def _other(luck: float, beside: Mapping[int, float]) -> int | None:
    for checkpoint, part in sorted(beside.items()):
        luck -= part
        if luck < 0:
            return checkpoint
    return None


def _over_samplings(dice: random.Random, deployments: Sequence[Deployment], n: int) -> dict[int, int]:
    """``n`` samples over the samplings of one checkpoint, by deployment id: where the share is least used."""
    luck = {deployment.id: dice.random() for deployment in deployments}
    taken = dict.fromkeys(luck, 0)
    for _ in range(n):
        chosen = min(deployments, key=lambda each: ((taken[each.id] + luck[each.id]) / each.share, each.id))
        taken[chosen.id] += 1
    return taken


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
    """The deployment's sampling with the batch's own on top; of an external model what any endpoint understands."""
    keys = UNDERSTOOD if deployment.checkpoint.kind is CheckpointKind.EXTERNAL else SAMPLING_KEYS
    merged = {**deployment.sampling, **overrides}
    return {name: value for name, value in merged.items() if name in keys and value is not None}
