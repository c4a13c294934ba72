"""The JSON of the registry under ``/api/v1``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.kernel.numbers import Real, Truth
from app.registry.models import CheckpointKind, CheckpointState, LoadState, LoopRole
from training.formats.trainers import Trainer


class ExternalForm(BaseModel):
    """A model of another endpoint: what the form sends, and the API takes."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "rival-large",
                    "endpoint": "rival",
                    "model": "large-2",
                    "may_train": False,
                    "note": "Their terms, section 4.",
                    "temperature": 0.7,
                }
            ]
        },
    )

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    endpoint: str = Field(min_length=1, max_length=40)
    model: str = Field(min_length=1, max_length=200)
    may_train: Truth = False
    note: str = Field(default="", max_length=500)
    temperature: Real | None = Field(default=None, ge=0, le=2)

    @field_validator("temperature", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @property
    def sampling(self) -> dict[str, Any]:
        """The endpoint's own, but for what was asked for: some refuse to be told a temperature."""
        return {} if self.temperature is None else {"temperature": self.temperature}


class DeploymentJson(BaseModel):
    """A place in the rotation."""

    id: int = Field(examples=[3])
    label: str = Field(examples=["default"], description="Distinguishes two sampling settings of one checkpoint.")
    sampling: dict[str, Any] = Field(examples=[{"temperature": 0.8, "top_p": 0.95}])
    share: float = Field(
        examples=[1.0],
        description="Of a challenger: the part of the prompts on which it stands beside the champion. Of others: their "
        "weight in what is left. The champion answers every prompt.",
    )
    load_state: LoadState = Field(examples=["loaded"], description="Only loaded deployments are sampled.")
    load_error: str | None = Field(examples=[None])
    since: datetime


class CheckpointJson(BaseModel):
    """A checkpoint with its place in the rotation."""

    id: int = Field(examples=[5])
    name: str = Field(examples=["policy-r1-a1b2c3d4"])
    kind: CheckpointKind = Field(examples=["policy"])
    trainer: Trainer | None = Field(
        examples=["corral"], description="The trainer that its run used, Corral's own or TRL's; null if no run made it."
    )
    state: CheckpointState = Field(examples=["ready"])
    broken_reason: str | None = Field(examples=[None])
    parent: str | None = Field(examples=["SmolLM2-135M-Instruct"])
    manifest_sha256: str | None = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    metrics: dict[str, Any] = Field(examples=[{"held_out/accuracy": 0.71}])
    rotation_percent: int = Field(
        examples=[80], description="Percentage of prompts that it answers now; 0 when out of rotation."
    )
    roles: list[LoopRole] = Field(
        examples=[["challenger"]],
        description="What it is now: base, champion, previous champion, challenger, or nothing.",
    )
    deployments: list[DeploymentJson]
    mark: Literal["tainted", "touched"] | None = Field(
        examples=[None],
        description="`tainted`: trained on annotations that were retracted later, or made from such weights. `touched`: "
        "its data were chosen or written by such a model. null otherwise.",
    )
    created_at: datetime


class CheckpointList(BaseModel):
    """Newest first."""

    checkpoints: list[CheckpointJson]
    next: int | None = Field(examples=[None], description="Pass it as `before` for the next page.")
