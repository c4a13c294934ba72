"""Who is asked: the champion on every prompt and, on most, one other beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.registry.models import CheckpointKind, Deployment, LoopRole

IN_PLACE = (LoopRole.CHAMPION, LoopRole.PREVIOUS, LoopRole.BASE)
"""The checkpoint that stands in for the champion until the engine has loaded it."""


@dataclass(frozen=True)
class Rotation:
    """Deployments, and who is who among their checkpoints."""

    deployments: Sequence[Deployment]
    roles: Mapping[LoopRole, int]
    """Checkpoint ids; not each of them has to be among the deployments."""

    @property
    def champion(self) -> int | None:
        """The checkpoint on every prompt: the champion, or who stands in for it; None where nothing of ours is there."""
        ours = (each for each in self.deployments if each.checkpoint.kind is not CheckpointKind.EXTERNAL)
        there = {deployment.checkpoint_id for deployment in ours}
        in_line = (self.roles.get(role) for role in IN_PLACE)
        found = next((checkpoint for checkpoint in in_line if checkpoint in there), None)
        return found if found is not None else min(there, default=None)

    @property
    def writer(self) -> Deployment | None:
        """Who is asked where one text is wanted: the champion with its first sampling."""
        return min(self.of(self.champion), key=lambda deployment: deployment.id, default=None)

    def beside(self) -> dict[int, float]:
        """On which part of the prompts each other checkpoint stands beside the champion; on the rest it is alone.

        A challenger's share is that part. What it leaves is divided among the others by theirs.
        """
        champion = self.champion
        weights = {each: share for each, share in _shares(self.deployments).items() if each != champion}
        challenger = self.roles.get(LoopRole.CHALLENGER)
        parts = {}
        if challenger in weights:
            parts[challenger] = min(1.0, weights.pop(challenger))
        rest, total = 1.0 - sum(parts.values()), sum(weights.values())
        return parts | {each: rest * weight / total for each, weight in weights.items()}

    def of(self, checkpoint: int | None) -> list[Deployment]:
        """The deployments of a checkpoint: its samplings."""
        return [deployment for deployment in self.deployments if deployment.checkpoint_id == checkpoint]


def _shares(deployments: Sequence[Deployment]) -> dict[int, float]:
    """The share of each checkpoint: the mean of its deployments', so that two samplings do not count it twice."""
    shares: dict[int, list[float]] = {}
    for deployment in deployments:
        shares.setdefault(deployment.checkpoint_id, []).append(deployment.share)
    return {checkpoint: sum(values) / len(values) for checkpoint, values in shares.items()}
