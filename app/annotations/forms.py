"""What an annotator may send. Responses are known by position only: "A" is the first one shown to this annotator."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.annotations.models import Flag, Outcome, SpanLabel
from app.numbers import Real, Truth, Whole
from app.storable import flaw

TEXT_LIMIT = 200_000
COMMENT_LIMIT = 10_000
NOTE_LIMIT = 1_000
SPANS_LIMIT = 100
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
Seconds = Annotated[Real, Field(ge=0, le=86_400, allow_inf_nan=False)]
Level = Annotated[int, Field(ge=1, le=4, strict=True)]
AttributeName = Annotated[str, Field(pattern="^[a-z_]{1,30}$")]
Step = Annotated[int, Field(ge=1, le=7, strict=True)]
Attributes = Annotated[dict[Position, dict[AttributeName, Step]], Field(max_length=8)]
Flags = Annotated[dict[Position, list[Flag]], Field(max_length=8)]


class Span(BaseModel):
    """A passage of a response, with what it is. ``start`` and ``end`` count Unicode characters of the text as sampled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: Position
    start: Whole = Field(ge=0)
    end: Whole = Field(description="Not included.")
    label: SpanLabel
    note: Annotated[str, Field(max_length=NOTE_LIMIT), AfterValidator(_storable)] = ""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.end <= self.start:
            raise ValueError("a marked passage ends after it starts")
        return self


class Details(BaseModel):
    """What can be said beside the ranking, of each response by its position."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attributes: Attributes = Field(default={}, description="Place on the batch's scale, from 1, by attribute.")
    flags: Flags = {}
    spans: list[Span] = Field(default=[], max_length=SPANS_LIMIT)
    nothing_to_improve: Truth = Field(default=False, description="The chosen response cannot be made better.")
    comment: Comment = ""


class Submission(Details):
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

    fencing_token: Whole = Field(ge=1, description="The token that came with the assignment.")
    outcome: Outcome
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level] = Field(default=[], max_length=7, description="1 marginally … 4 significantly better.")
    edited_position: Position | None = Field(
        default=None, description="Needed only when several share the first place."
    )
    edited_text: Text | None = None
    revision_id: Whole | None = Field(default=None, description="The revision that the edited text is, or began as.")
    corrects: Whole | None = Field(default=None, description="The annotation of yours that this one supersedes.")
    draft_version: Whole | None = Field(
        default=None, ge=0, description="The draft that you know: what is refused is not kept over a newer one."
    )
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
            revisions={} if self.revision_id is None else {edited: self.revision_id},
            active_seconds=self.active_seconds or 0,
            **{name: getattr(self, name) for name in Details.model_fields},
        )


class Draft(Details):
    """An unfinished judgement: any part of it, and the edits begun, by position."""

    outcome: Outcome | None = None
    ranking: list[list[Position]] = Field(default=[], max_length=8)
    strengths: list[Level | None] = Field(default=[], max_length=7)
    edits: dict[Position, Text] = Field(default={}, max_length=8)
    revisions: dict[Position, Whole] = Field(default={}, max_length=8, description="What each edit began as.")
    active_seconds: Seconds = 0


class DraftSave(BaseModel):
    """A draft with the version that it replaces."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"version": 2, "draft": {"edits": {"B": "A clearer ans"}, "comment": ""}}]},
    )

    version: Whole = Field(ge=0)
    draft: Draft


class RevisionRequest(BaseModel):
    """What the model shall make of a response."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "position": "B",
                    "feedback": "Half as long, and say where the number comes from.",
                    "source_text": "n times (n - 1), halved.",
                    "request_key": "0c5f1a",
                }
            ]
        },
    )

    position: Position
    feedback: Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(_storable)]
    source_text: Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT), AfterValidator(_storable)] = Field(
        description="The response, or what you have made of it so far."
    )
    request_key: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_storable)] = Field(
        description="A string of your own: asked twice with one key, a revision is written once."
    )


class Skip(BaseModel):
    """Why an item is left to somebody else."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    reason: Annotated[str, Field(min_length=1, max_length=SKIP_REASON_LIMIT), AfterValidator(_storable)] = Field(
        examples=["I do not read this language well enough"]
    )
