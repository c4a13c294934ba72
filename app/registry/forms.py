"""The JSON of the registry under ``/api/v1``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.registry.models import CheckpointKind, CheckpointState, LoadState


class DeploymentJson(BaseModel):
    """A place in the rotation."""

    id: int = Field(examples=[3])
    label: str = Field(examples=["default"], description="Tells two samplings of one checkpoint apart.")
    sampling: dict[str, Any] = Field(examples=[{"temperature": 0.8, "top_p": 0.95}])
    share: float = Field(examples=[1.0])
    load_state: LoadState = Field(examples=["loaded"], description="Only what is loaded is sampled.")
    load_error: str | None = Field(examples=[None])
    since: datetime


class CheckpointJson(BaseModel):
    """A checkpoint with its place in the rotation."""

    id: int = Field(examples=[5])
    name: str = Field(examples=["policy-r1-a1b2c3d4"])
    kind: CheckpointKind = Field(examples=["policy"])
    state: CheckpointState = Field(examples=["ready"])
    broken_reason: str | None = Field(examples=[None])
    parent: str | None = Field(examples=["SmolLM2-135M-Instruct"])
    manifest_sha256: str | None = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    metrics: dict[str, Any] = Field(examples=[{"held_out/accuracy": 0.71}])
    rotation_percent: int = Field(
        examples=[50], description="Of the samples that are drawn now; 0 when out of rotation."
    )
    deployments: list[DeploymentJson]
    created_at: datetime


class LineageJson(BaseModel):
    """Where a checkpoint came from, and what came of it."""

    training_run: int | None = Field(examples=[2])
    snapshot: int | None = Field(examples=[1])
    snapshot_rows: int | None = Field(examples=[96])
    annotations: int = Field(examples=[64], description="Annotations in the snapshot.")
    annotators: int = Field(examples=[3])
    candidates: int = Field(examples=[224], description="Responses that this checkpoint wrote.")
    children: list[str] = Field(examples=[[]], description="Checkpoints that were trained from it.")


class CheckpointDetailJson(CheckpointJson):
    """A checkpoint with its lineage."""

    lineage: LineageJson


class CheckpointList(BaseModel):
    """Newest first."""

    checkpoints: list[CheckpointJson]
    next: int | None = Field(examples=[None], description="Pass it as `before` for the next page.")
