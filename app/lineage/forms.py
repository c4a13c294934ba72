"""What retractions are asked for with, and how the API says the lineage."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.annotations.models import Retraction, RetractionScope
from app.kernel.numbers import Truth, Whole
from app.kernel.paging import LARGEST
from app.lineage.marks import Mark
from app.lineage.reach import Reach, Use
from app.lineage.service import REASON_LIMIT
from app.preferences.api import SNAPSHOT, SnapshotJson
from app.registry.forms import CheckpointJson
from app.rounds.models import ContestKind, InputRole, RunKind, RunState
from app.sources.forms import SOURCE, LearntJson, SourceJson

Id = Annotated[Whole, Field(ge=1, le=LARGEST, examples=[17])]
_USE: dict[str, Any] = {
    "run_id": 8,
    "kind": "dpo",
    "state": "succeeded",
    "round": 1,
    "snapshot_id": 3,
    "checkpoint_id": 5,
    "checkpoint": "policy-r1-04",
}


class Wish(BaseModel):
    """What is to be retracted: an annotation, all of a person, or all of a batch."""

    model_config = ConfigDict(extra="forbid")

    scope: RetractionScope = Field(examples=["person"])
    target_id: Id = Field(description="Of the annotation, the user or the batch.")


class RetractionIn(Wish):
    """A retraction, with its reason."""

    reason: str = Field(
        min_length=1, max_length=REASON_LIMIT, examples=["Judged with the sides swapped."], description="Why; kept."
    )
    erase: Truth = Field(
        default=False,
        description="Of a person: also blank what they wrote, and remove the files that hold it. Cannot be restored.",
    )


class UseJson(BaseModel):
    """A training run that used the snapshot."""

    model_config = ConfigDict(json_schema_extra={"examples": [_USE]})

    run_id: int
    kind: RunKind
    state: RunState
    round: int
    snapshot_id: int
    checkpoint_id: int | None
    checkpoint: str | None

    @classmethod
    def of(cls, use: Use) -> UseJson:
        """The use."""
        made = use.checkpoint
        return cls(
            run_id=use.run.id,
            kind=use.run.kind,
            state=use.run.state,
            round=use.round,
            snapshot_id=use.run.snapshot_id,
            checkpoint_id=made.id if made else None,
            checkpoint=made.name if made else None,
        )


class SnapshotDetail(SnapshotJson):
    """A snapshot with its lineage."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {**SNAPSHOT, "annotations": 128, "written": 12, "annotators": 5, "retracted": 0, "uses": [_USE]}
            ]
        }
    )

    annotations: int
    written: int = Field(description="Of the annotations, answers that were written from scratch.")
    annotators: int
    retracted: int
    uses: list[UseJson]


class SourceUseJson(UseJson):
    """A training run that learns from the source."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_USE, "weight": 0.25}]})

    weight: float = Field(examples=[0.25], description="As it was when the run was queued.")


class SourceDetail(SourceJson):
    """A source with the runs that learn from it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**SOURCE, "uses": [{**_USE, "weight": 0.25}]}]})

    uses: list[SourceUseJson]


class HoldsJson(BaseModel):
    """A snapshot, and how many of the annotations it holds."""

    id: int = Field(examples=[3])
    name: str = Field(examples=["snapshot-5d8f01c2"])
    annotations: int = Field(examples=[50])


class MarkedJson(BaseModel):
    """A checkpoint that was trained on them, or on data of one that was, and how many responses it wrote since."""

    id: int = Field(examples=[5])
    name: str = Field(examples=["policy-r1-a1b2c3d4"])
    mark: Mark = Field(examples=["tainted"])
    responses: int = Field(examples=[224])


class VotedJson(BaseModel):
    """A contest in which they are votes."""

    id: int = Field(examples=[2])
    kind: ContestKind = Field(examples=["gate"])
    challenger: str = Field(examples=["policy-r2-0a1b2c3d"])
    champion: str = Field(examples=["policy-r1-a1b2c3d4"])
    verdict: str | None = Field(
        examples=[None], description="null while it is open; a verdict that was reached stands."
    )
    votes: int = Field(examples=[3], description="How many of them are votes of it, counted or not.")
    counted: int = Field(examples=[2], description="How many of them its evidence was made of.")
    seq: int | None = Field(examples=[37], description="The observation that the first of them is part of.")
    observations: int = Field(examples=[143], description="All that the contest counted.")


class ReachJson(BaseModel):
    """What a set of annotations went into."""

    annotations: int = Field(examples=[50], description="Those that stand.")
    earlier_versions: int = Field(examples=[2], description="Versions of them that were corrected or taken back since.")
    people: int = Field(examples=[1])
    snapshots: list[HoldsJson]
    runs: list[UseJson]
    checkpoints: list[MarkedJson]
    contests: list[VotedJson]

    @classmethod
    def of(cls, found: Reach) -> ReachJson:
        """The reach."""
        held = found.snapshots
        return cls(
            annotations=found.annotations,
            earlier_versions=found.earlier,
            people=found.people,
            snapshots=[HoldsJson(id=h.snapshot.id, name=h.snapshot.name, annotations=h.annotations) for h in held],
            runs=[UseJson.of(use) for use in found.uses],
            checkpoints=[
                MarkedJson(id=m.checkpoint.id, name=m.checkpoint.name, mark=m.mark, responses=m.responses)
                for m in found.marked
            ],
            contests=[
                VotedJson(
                    id=v.contest.id,
                    kind=v.contest.kind,
                    challenger=v.challenger,
                    champion=v.champion,
                    verdict=v.contest.verdict.value if v.contest.verdict else None,
                    votes=v.votes,
                    counted=v.counted,
                    seq=v.seq,
                    observations=v.contest.counted,
                )
                for v in found.contests
            ],
        )


class AnnotationLineageJson(BaseModel):
    """Where an annotation went."""

    id: int = Field(examples=[17])
    annotator: str = Field(examples=["annotator-5d8f01c2a9b4"], description="A pseudonym.")
    batch_id: int = Field(examples=[4])
    stands: bool = Field(description="Whether it was neither corrected nor taken back.")
    returned: bool = Field(description="Whether a reviewer asked its annotator to look again.")
    retraction_id: int | None = Field(examples=[None])
    reach: ReachJson


class RetractionJson(BaseModel):
    """A retraction as it was made. While it is in force its annotations are in no export, no training and no contest."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[3])
    scope: RetractionScope
    target_id: int = Field(examples=[17])
    reason: str = Field(examples=["Judged with the sides swapped."])
    annotations: int = Field(examples=[50], description="Rows that it took out, earlier versions among them.")
    erased: bool
    created_at: datetime
    restored_at: datetime | None


class RetractionDetail(RetractionJson):
    """A retraction with what its annotations went into."""

    reach: ReachJson

    @classmethod
    def whole(cls, made: Retraction, found: Reach) -> RetractionDetail:
        """The retraction, with the reach of its annotations."""
        return cls(**RetractionJson.model_validate(made).model_dump(), reach=ReachJson.of(found))


class RetractionList(BaseModel):
    """Newest first."""

    retractions: list[RetractionJson]
    next: int | None = Field(examples=[None], description="Pass it as `before` for the next page.")


class InputJson(BaseModel):
    """A checkpoint that the run used, and as what."""

    role: InputRole = Field(examples=["chose"])
    checkpoint: str = Field(examples=["reward-r1-0a1b2c3d"])


class LineageJson(BaseModel):
    """Where a checkpoint came from, and what came of it."""

    training_run: int | None = Field(examples=[2])
    snapshot: int | None = Field(examples=[1])
    snapshot_rows: int | None = Field(examples=[96])
    annotations: int = Field(examples=[64], description="Annotations in the snapshot.")
    annotators: int = Field(examples=[3])
    people: dict[str, int] = Field(
        examples=[{"annotator-5d8f01c2a9b4": 40}], description="Annotations of each, by pseudonym; the first hundred."
    )
    retracted: int = Field(examples=[0], description="Annotations in the snapshot that were retracted since.")
    sources: list[LearntJson] = Field(description="What it learnt from beside its snapshot.")
    inputs: list[InputJson] = Field(
        examples=[[{"role": "chose", "checkpoint": "reward-r1-0a1b2c3d"}]],
        description="Other checkpoints that went in: the reward model that chose, policies that were sampled, members of a mean.",
    )
    candidates: int = Field(examples=[224], description="Responses that this checkpoint wrote.")
    children: list[str] = Field(examples=[[]], description="Checkpoints that were trained from it.")
    used_by: list[InputJson] = Field(
        examples=[[]], description="What it chose for, was sampled for, or was averaged into."
    )
    contests: list[int] = Field(examples=[[2]], description="Contests that it was in.")


class CheckpointDetailJson(CheckpointJson):
    """A checkpoint with its lineage."""

    lineage: LineageJson
