"""What an annotator may send. Responses are known by position only: "A" is the first one shown to this annotator."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.judgements.judgement import TEXT_LIMIT, Draft, Judgement, Position, Seconds, storable
from app.kernel.fingerprint import fingerprint
from app.kernel.numbers import Whole

SKIP_REASON_LIMIT = 500
ATTEMPT = {"fencing_token", "active_seconds", "draft_version"}
LATER = {
    "attributes", "flags", "spans", "nothing_to_improve", "revision_id", "corrects", "step_labels", "right_step",
}  # fmt: skip


class Submission(Judgement):
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
                {"fencing_token": 1, "outcome": "written", "edited_text": "Count them, then halve."},
                {"fencing_token": 1, "outcome": "labelled", "step_labels": [1, 0, -1], "right_step": "Halve it: 6."},
            ]
        },
    )

    fencing_token: Whole = Field(ge=1, description="The token that came with the assignment.")
    corrects: Whole | None = Field(default=None, description="The annotation of yours that this one supersedes.")
    draft_version: Whole | None = Field(
        default=None,
        ge=0,
        description="The draft version you last saw: a refused submission does not overwrite a newer draft.",
    )
    active_seconds: Seconds | None = None


def request_hash(assignment_id: int, submission: Submission) -> bytes:
    """SHA-256 of the judgement, by which a retry is told from a different submission under the same key.

    The fencing token, the seconds and the draft's version are left out: they describe the attempt, and a retry after a lost
    answer may carry newer ones. What could not be said at first counts only where it is said, so that a retry across an
    upgrade is still the same.
    """
    unsaid = {name for name in LATER if getattr(submission, name) == Submission.model_fields[name].default}
    judgement = submission.model_dump(mode="json", exclude=ATTEMPT | unsaid)
    return fingerprint([assignment_id, judgement])


class DraftSave(BaseModel):
    """A draft with the version that it replaces."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"version": 2, "draft": {"edits": {"B": "A clearer ans"}, "comment": ""}}]},
    )

    version: Whole = Field(ge=0)
    draft: Draft
    corrects: Whole | None = Field(
        default=None, description="The annotation of yours that this will correct, where the item is submitted."
    )


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
    feedback: Annotated[str, Field(min_length=1, max_length=4_000), AfterValidator(storable)]
    source_text: Annotated[str, Field(min_length=1, max_length=TEXT_LIMIT), AfterValidator(storable)] = Field(
        description="The response, or your edited version so far."
    )
    request_key: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(storable)] = Field(
        description="A string that you choose: asking twice with one key creates one revision."
    )


class Skip(BaseModel):
    """Why an item is left to somebody else."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    reason: Annotated[str, Field(min_length=1, max_length=SKIP_REASON_LIMIT), AfterValidator(storable)] = Field(
        examples=["I do not read this language well enough"]
    )
