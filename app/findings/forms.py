"""The JSON of checks and findings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.annotations.work_form import WorkForm
from app.findings.models import Verdict
from app.findings.orders import LONGEST
from app.findings.queries import edit_of


class TallyOut(BaseModel):
    """What one verifier found in one capability, over the responses that were checked."""

    verifier: str = Field(examples=["answer"])
    capability: str = Field(examples=["maths"], description="Empty where prompts name none.")
    passed: int = Field(examples=[31])
    failed: int = Field(examples=[8])
    unchecked: int = Field(examples=[1], description="Could not be checked; counts neither as passed nor as failed.")
    edits_passed: int = Field(examples=[4], description="Submitted edits that passed.")
    edits: int = Field(examples=[5], description="Submitted edits that were checked.")


class TallyList(BaseModel):
    """Counts by verifier and capability."""

    counts: list[TallyOut]


class PreferredOut(BaseModel):
    """A response that a verifier failed, ranked above one that it passed; by the positions that the annotator saw."""

    verifier: str = Field(examples=["answer"])
    above: str = Field(examples=["B"], description="What fails.")
    why: str = Field(examples=["42 wanted, 41 found"])
    below: str = Field(examples=["A"], description="What passes.")


class ConflictOut(BaseModel):
    """An annotation that prefers what fails."""

    annotation_id: int = Field(examples=[17])
    batch: str = Field(examples=["Sums"])
    prompt: str = Field(examples=["sum-4"], description="The prompt's id in its file.")
    annotator: str = Field(examples=["annotator-1f2e3d4c5b6a"])
    preferred: list[PreferredOut]


class ConflictList(BaseModel):
    """One page, newest first. ``next`` is the ``before`` of the following page, or null on the last one."""

    annotations: list[ConflictOut]
    next: int | None = Field(examples=[None])


class EditForm(WorkForm):
    """The edit that is to be checked. Its button stands in the form of the work page, and a browser sends that whole form."""

    fencing_token: int = 0
    draft_version: int = Field(default=0, ge=0)
    key: str = ""

    def text(self) -> str | None:
        """The edit as it is now; None where nothing of it was sent.

        Raises:
            BadInput: something of the draft is too long or cannot be stored; names the field.
        """
        if not self.judgement and not self.edited_text:
            return None
        draft = self.read()
        return edit_of(draft.edits, draft.ranking)


class FindingOut(BaseModel):
    """What one verifier found of one text: of a response, or of the edit of an annotation."""

    id: int = Field(examples=[210])
    check_id: int = Field(examples=[105])
    prompt: str = Field(examples=["sum-4"])
    candidate_id: int | None = Field(examples=[33])
    annotation_id: int | None = Field(examples=[None])
    verifier: str = Field(examples=["answer"])
    version: str = Field(examples=["1"])
    case_hash: str = Field(
        examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        description="SHA-256 of all that the verifier was given.",
    )
    passed: bool | None = Field(examples=[True], description="Null where it could not be checked; `message` says why.")
    score: float | None = Field(examples=[1.0])
    message: str = Field(examples=["5 of 5 tests"])
    evidence: dict[str, Any] = Field(examples=[{"found": "42"}])
    created_at: datetime


class FindingList(BaseModel):
    """One page, newest first. ``next`` is the ``before`` of the following page, or null on the last one."""

    findings: list[FindingOut]
    next: int | None = Field(examples=[None])


class CheckedAgain(BaseModel):
    """How many texts will be checked."""

    checks: int = Field(examples=[12])


class JudgeOut(BaseModel):
    """The judge of facts, and how far it agrees with people."""

    judge: str | None = Field(examples=["rival/large-model"], description="Null where the operator has chosen none.")
    agreed: int = Field(examples=[57])
    labels: int = Field(examples=[60], description="Labelled answers that it has judged.")
    low: float = Field(examples=[0.863], description="Of the 95% interval of the agreement.")
    high: float = Field(examples=[0.983])
    admitted: bool = Field(examples=[True], description="Whether its verdicts count.")


class LabellingOut(BaseModel):
    """An answer that somebody is asked about, without the judge's verdict."""

    finding_id: int = Field(examples=[210])
    source: str = Field(examples=["The office opens at nine."])
    question: str = Field(examples=["When does the office open?"])
    answer: str = Field(examples=["At ten."])


class NextLabelling(BaseModel):
    """The next answer that nobody has labelled; null where there is none."""

    answer: LabellingOut | None


class LabelIn(BaseModel):
    """What a person says of an answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"verdict": "incorrect"}})

    verdict: Verdict


class EditIn(BaseModel):
    """The edit of an item as it is now."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"text": "The answer is 42."}})

    text: Annotated[str, StringConstraints(max_length=LONGEST, pattern=r"^[^\x00]*$")]


class EditFinding(BaseModel):
    """What one verifier found of an edit."""

    verifier: str = Field(examples=["answer"])
    version: str = Field(examples=["1"])
    passed: bool | None = Field(examples=[True])
    message: str = Field(examples=["5 of 5 tests"])


class EditCheck(BaseModel):
    """The latest check of an edit that is not submitted."""

    waiting: bool = Field(examples=[False], description="Ask again: it has not been checked yet.")
    findings: list[EditFinding]
