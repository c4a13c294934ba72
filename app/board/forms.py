"""What comes in and what goes out: the filter in an address, and the JSON of a board."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from app.board.models import ALL, ALL_ROUNDS, BoardState
from app.board.queries import Wanted
from app.board.results import Agreement, Strengths
from app.kernel.paging import LARGEST

LARGEST_ROUND = 2**31 - 1
Capability = Annotated[
    str, Query(max_length=60, pattern=r"^[^\x00]*$", description="Of the prompts; without it all of them.")
]
RoundNumber = Annotated[
    int, Query(alias="round", ge=0, le=LARGEST_ROUND, description="In which the item was collected; 0 is all.")
]
PolicyId = Annotated[int, Query(ge=1, le=LARGEST, description="A checkpoint.")]


def wanted(
    capability: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[str, Query(alias="round")] = "",
    one: str = "",
    other: str = "",
) -> Wanted:
    """The filter in an address of a page; what cannot be read filters nothing."""
    asked = _number(number) or ALL_ROUNDS
    return Wanted(
        capability=capability if "\x00" not in capability else ALL,
        round=asked if asked <= LARGEST_ROUND else ALL_ROUNDS,
        one=_number(one),
        other=_number(other),
    )


Filter = Annotated[Wanted, Depends(wanted)]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def address(path: str, wanted: Wanted, **more: int | None) -> str:
    """``path`` with the filter behind it."""
    values = {
        "one": wanted.one,
        "other": wanted.other,
        "capability": wanted.capability,
        "round": wanted.round,
        **more,
    }
    query = urlencode({name: value for name, value in values.items() if value})
    return f"{path}?{query}" if query else path


_PAIR: dict[str, Any] = {
    "one": 1,
    "other": 4,
    "wins": 41,
    "ties": 22,
    "losses": 80,
    "prompts": 143,
    "people": 4,
    "score": {"rate": 0.36, "low": 0.29, "high": 0.44},
}
_STRENGTHS: dict[str, Any] = {
    "votes": 143,
    "people": 4,
    "prompts": 143,
    "ties": 22,
    "reference": 1,
    "length_effect": 0.21,
    "policies": [
        {
            "checkpoint_id": 4,
            "name": "policy-r2-5d8f01c2",
            "votes": 143,
            "prompts": 143,
            "strength": 0.56,
            "win_rate": {"rate": 0.64, "low": 0.56, "high": 0.71},
            "length_controlled": {"rate": 0.61, "low": 0.53, "high": 0.69},
        },
        {
            "checkpoint_id": 1,
            "name": "base",
            "votes": 143,
            "prompts": 143,
            "strength": 0.0,
            "win_rate": None,
            "length_controlled": None,
        },
    ],
    "pairs": [_PAIR],
}


class SolvedOut(BaseModel):
    """The share of held-out prompts of a capability that a policy solves; the ends are null where one was asked alone."""

    rate: float = Field(examples=[0.42])
    low: float | None = Field(examples=[0.31])
    high: float | None = Field(examples=[0.53])
    prompts: int = Field(examples=[60])


class SolverOut(BaseModel):
    """One policy, by capability, as the check of a round measured it last."""

    checkpoint_id: int
    name: str = Field(examples=["policy-r2-0a1b2c3d"])
    round: int
    rates: dict[str, SolvedOut] = Field(examples=[{"maths": {"rate": 0.42, "low": 0.31, "high": 0.53, "prompts": 60}}])


class BoardOut(BaseModel):
    """The last board that is ready, by the votes that were asked for. Its parts are null until one is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    "computed_at": "2026-11-23T02:34:18Z",
                    "seconds": 0.2,
                    "computing": False,
                    "new": 12,
                    "failed": None,
                    "settled_alone": False,
                    "method": "Bradley–Terry by maximum likelihood …",
                    "solved": [
                        {
                            "checkpoint_id": 9,
                            "name": "policy-r2-0a1b2c3d",
                            "round": 2,
                            "rates": {"maths": {"rate": 0.42, "low": 0.31, "high": 0.53, "prompts": 60}},
                        }
                    ],
                    "strengths": _STRENGTHS,
                }
            ]
        }
    )

    id: int | None
    computed_at: datetime | None
    seconds: float | None
    computing: bool = Field(description="Whether a newer one is on its way.")
    new: int = Field(description="Annotations, reviews and retractions since.")
    failed: str | None = Field(description="Why the last try after it failed.")
    settled_alone: bool = Field(description="Whether it is by settled items alone, as for reviewers.")
    method: str = Field(examples=["Bradley–Terry, ties ½; intervals clustered by prompt and person"])
    solved: list[SolverOut] = Field(description="Held-out prompts that policies solve, as the checks of rounds found.")
    strengths: Strengths | None = Field(description="Null where too few votes are left to be computed apart.")


class AskedOut(BaseModel):
    """The board that is to be computed."""

    id: int = Field(examples=[8])
    state: BoardState


class AgreementOut(BaseModel):
    """Agreement between people, as of the last board."""

    computed_at: datetime | None
    agreement: Agreement


class ResponseOut(BaseModel):
    """One response of an item."""

    letter: str = Field(examples=["A"])
    checkpoint_id: int
    checkpoint: str = Field(examples=["policy-r2-0a1b2c3d"])
    text: str = Field(examples=["Sunlight scatters off the air."])
    tokens: int


class VoteOut(BaseModel):
    """What one person said of it."""

    annotation_id: int
    annotator: str = Field(examples=["annotator-5d3f0c9a1b2e"])
    words: str = Field(examples=["B is better"])
    score: float = Field(description="For ``one``: 1 it won, 0 it lost; the mean where it has several responses.")


class ItemOut(BaseModel):
    """A settled item with its responses and votes."""

    id: int
    prompt_id: int
    prompt: str = Field(examples=["Why is the sky blue?"], description="Its beginning.")
    batch: str = Field(examples=["Round 1"])
    capability: str | None = Field(examples=["explaining"])
    round: int
    responses: list[ResponseOut]
    votes: list[VoteOut]


class ItemList(BaseModel):
    """A page of settled items, newest first; ``next`` is the ``before`` of the page that follows."""

    items: list[ItemOut]
    next: int | None
