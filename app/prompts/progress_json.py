"""How the API says how far a batch is."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ProgressJson(BaseModel):
    """How far a batch is: prompts by state of their generation, and comparisons."""

    prompts: int = Field(examples=[56])
    pending: int = Field(examples=[10])
    generating: int = Field(examples=[4])
    ready: int = Field(examples=[41])
    unanimous: int = Field(
        examples=[0], description="Prompts whose answers were all the same, which checks decide about."
    )
    quarantined: int = Field(examples=[1])
    withdrawn: int = Field(examples=[0], description="Prompts that an admin has taken out; they are not in `prompts`.")
    comparisons: int = Field(
        examples=[41],
        description="Items for people: prompts with enough different responses to compare, whose answer they write, or with a "
        "response whose steps they label.",
    )
    comparisons_done: int = Field(examples=[12], description="Comparisons with all the annotations they want.")
    comparisons_unstarted: int = Field(
        examples=[25],
        description="Comparisons that nobody has begun. Prompts stay pending while there are many: they follow as people work.",
    )
    checks: int = Field(examples=[82], description="Responses and submitted edits with something to check.")
    checks_done: int = Field(examples=[80], description="Of these, how many have been checked, or could not be.")
    unchecked: int = Field(examples=[1], description="Of those, how many a verifier could say nothing about.")
