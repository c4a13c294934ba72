"""The numbers of a board, as the worker writes them, pages show them and the API hands them out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_RATE: dict[str, Any] = {"rate": 0.62, "low": 0.54, "high": 0.69}


class Rate(BaseModel):
    """A share between 0 and 1 with its 95% interval."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RATE]})

    rate: float
    low: float
    high: float


class Policy(BaseModel):
    """One policy and how often it would win against the reference."""

    checkpoint_id: int
    name: str = Field(examples=["policy-r2-0a1b2c3d"])
    votes: int = Field(description="Votes that it is in.")
    prompts: int
    strength: float | None = Field(
        description="Log-odds of a win against the reference; null where no chain of votes leads to it."
    )
    win_rate: Rate | None = Field(description="The same as a share of wins, a tie counting half.")
    length_controlled: Rate | None = Field(description="Between responses of equal length.")


class Pair(BaseModel):
    """Two policies on the same prompts: what people said of them directly."""

    one: int = Field(description="Checkpoint id.")
    other: int
    wins: int = Field(description="Votes for ``one``.")
    ties: int
    losses: int
    prompts: int
    people: int
    score: Rate = Field(description="Mean vote for ``one``: a win 1, a tie ½, a loss 0.")


class Strengths(BaseModel):
    """All policies by some of the votes."""

    votes: int
    people: int
    prompts: int
    ties: int
    reference: int | None = Field(
        description="The checkpoint that win rates are against: the base, where it has votes."
    )
    length_effect: float | None = Field(
        description="Log-odds that a response gains by being longer by one standard deviation of the differences."
    )
    policies: list[Policy]
    pairs: list[Pair]


class Alpha(BaseModel):
    """Krippendorff's α of some items that two or more people judged. Null where there are too few to say anything."""

    name: str = Field(examples=["Round 1"], description="The batch, the two people, or the first day of the week.")
    items: int
    judgements: int
    nominal: Rate | None = Field(description="Of which response is better, or a tie. `rate` is α.")
    ordinal: Rate | None = Field(description="Of how much better, on nine levels. `rate` is α.")


class Reliable(BaseModel):
    """How often one person agrees with a model of what was said of other prompts."""

    name: str = Field(examples=["annotator-5d3f0c9a1b2e"])
    votes: int
    agrees: Rate
    below: bool = Field(description="Whether the whole interval lies below everybody's rate.")


class Reliability(BaseModel):
    """Everybody against a cross-fitted model, and each person with enough votes, the least reliable first."""

    votes: int
    agrees: Rate
    people: list[Reliable]


class Agreement(BaseModel):
    """Agreement beyond chance: 1 is perfect, 0 is chance."""

    overall: Alpha | None = None
    batches: list[Alpha] = []
    people: list[Alpha] = []
    weeks: list[Alpha] = []
    reliability: Reliability | None = None
