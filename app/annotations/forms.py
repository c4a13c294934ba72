"""What an annotator may send. Responses are known by position only: "A" is the first one shown to this annotator."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.annotations.models import Outcome
from app.storable import flaw

TEXT_LIMIT = 200_000
COMMENT_LIMIT = 10_000
SKIP_REASON_LIMIT = 500
POSITIONS = "ABCDEFGH"


def _storable(text: str) -> str:
    """Refuse what PostgreSQL cannot store and what no tokenizer reads the same way twice."""
    wrong = flaw(text)
    if wrong:
        raise ValueError(f"contains {wrong}: remove it")
    return text


def position(index: int) -> str:
    """The name by which an annotator knows the response at ``index`` (0-based) of the order shown."""
    return POSITIONS[index]


Text = Annotated[str, Field(max_length=TEXT_LIMIT), AfterValidator(_storable)]
Comment = Annotated[str, Field(max_length=COMMENT_LIMIT), AfterValidator(_storable)]
Position = Annotated[str, Field(pattern="^[A-H]$")]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=1, le=4, strict=True)]


class Submission(BaseModel):
    """A judgement: groups of positions, best first (a tie shares a group), and the strength between neighbours."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "fencing_token": 1,
                    "outcome": "ranked",
                    "ranking": [["B"], ["A"]],
                    "strengths": [3],
                    "edited_text": "A clearer answer.",
                    "comment": "A invents a source.",
                    "active_seconds": 41.5,
                },
                {"fencing_token": 1, "outcome": "ranked", "ranking": [["C"], ["A", "D"], ["B"]], "strengths": [1, 4]},
                {"fencing_token": 1, "outcome": "all_unacceptable"},
            ]
        },
    )

    fencing_token: int = Field(ge=1, description="The token that came with the assignment.")
    outcome: Outcome
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level] = Field(default=[], max_length=7, description="1 marginally … 4 significantly better.")
    edited_position: Position | None = Field(
        default=None, description="Needed only when several share the first place."
    )
    edited_text: Text | None = None
    comment: Comment = ""
    active_seconds: Seconds | None = None

    def draft(self) -> Draft:
        """The same as a draft, for when it cannot be recorded."""
        best = self.ranking[0] if self.ranking else []
        edited = self.edited_position or (best[0] if best else "A")
        return Draft(
            outcome=self.outcome,
            ranking=self.ranking,
            strengths=list(self.strengths),
            edits={} if self.edited_text is None else {edited: self.edited_text},
            comment=self.comment,
            active_seconds=self.active_seconds or 0,
        )


class Draft(BaseModel):
    """An unfinished judgement: any part of it, and the edits begun, by position."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: Outcome | None = None
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level | None] = Field(default=[], max_length=7)
    edits: dict[Position, Text] = Field(default={}, max_length=8)
    comment: Comment = ""
    active_seconds: Seconds = 0


class DraftSave(BaseModel):
    """A draft with the version that it replaces."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"version": 2, "draft": {"edits": {"B": "A clearer ans"}, "comment": ""}}]},
    )

    version: int = Field(ge=0)
    draft: Draft


class Skip(BaseModel):
    """Why an item is left to somebody else."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    reason: Annotated[str, Field(min_length=1, max_length=SKIP_REASON_LIMIT), AfterValidator(_storable)] = Field(
        examples=["I do not read this language well enough"]
    )
