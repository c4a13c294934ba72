"""Answers of the API about what came of judgements: rounds, contests, checkpoints, preferences, people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.client.models import Answer


class LearntJson(Answer):
    """A source that a run learns from, with the weight that the run has of it."""

    source_id: int
    name: str
    origin: str
    sha256: str
    weight: float
    file_deleted_at: datetime | None


class RoundJson(Answer):
    """A round with its verdict."""

    number: int
    state: str
    verdict: str | None
    verdict_reason: str
    contest_id: int | None
    batch_ids: list[int]
    annotations: int
    written: int
    training_run_ids: list[int]
    created_at: datetime
    completed_at: datetime | None


class RoundList(Answer):
    """All rounds, newest first, and what a training would learn from now. ``blocked`` says what keeps it from starting."""

    rounds: list[RoundJson]
    new_annotations: int
    trainable_pairs: int
    policy_pairs: int
    written_answers: int
    held_out_pairs: int
    sources: list[LearntJson]
    minutes: int
    blocked: str | None


class RunJson(Answer):
    """A training run."""

    id: int
    round: int
    kind: str
    trainer: str
    state: str
    snapshot_id: int
    after_run_id: int | None
    checkpoint: str | None
    step: int
    total_steps: int | None
    baseline: dict[str, Any]
    metrics: dict[str, Any]
    learns_from: str
    sources: list[LearntJson]
    error: str | None
    remedy: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunList(Answer):
    """A page of runs."""

    training_runs: list[RunJson]
    next: int | None


class StartedRuns(Answer):
    """What a start has queued, in the order it runs."""

    training_runs: list[RunJson]


class SourceJson(Answer):
    """A source for training. ``sha256`` is of its rows as they were read; ``left_out`` counts those that were not, by reason."""

    id: int
    name: str
    kind: str
    origin: str
    licence: str
    filename: str
    rows: int
    left_out: dict[str, Any]
    sha256: str
    weight: float
    created_at: datetime
    withdrawn_at: datetime | None
    file_deleted_at: datetime | None


class SourceList(Answer):
    """A page of sources."""

    sources: list[SourceJson]
    next: int | None


class SourceUseJson(Answer):
    """A training run that learns from a source, with the weight that it has of it."""

    run_id: int
    kind: str
    state: str
    round: int
    snapshot_id: int
    checkpoint_id: int | None
    checkpoint: str | None
    weight: float


class SourceDetail(SourceJson):
    """A source with the runs that learn from it."""

    uses: list[SourceUseJson]


class RateJson(Answer):
    """A rate with its interval."""

    value: float
    low: float | None
    high: float | None


class ContestJson(Answer):
    """A blind contest between two policies."""

    id: int
    round: int
    kind: str
    challenger: str
    champion: str
    score: RateJson | None
    length_controlled: RateJson | None
    evidence: float
    evidence_worse: float
    counted: int
    budget: int
    people: int
    verdict: str | None
    reason: str
    opened_at: datetime
    closed_at: datetime | None


class ContestList(Answer):
    """A page of contests."""

    contests: list[ContestJson]
    next: int | None


class CheckpointJson(Answer):
    """A checkpoint with its place in the rotation."""

    id: int
    name: str
    kind: str
    trainer: str | None
    state: str
    broken_reason: str | None
    parent: str | None
    manifest_sha256: str | None
    metrics: dict[str, Any]
    rotation_percent: int
    roles: list[str]
    mark: str | None
    created_at: datetime


class CheckpointList(Answer):
    """A page of checkpoints."""

    checkpoints: list[CheckpointJson]
    next: int | None


# ── Preferences and quality ──────────────────────────────────────────────────────────────────────────────────────────
class PlaceJson(Answer):
    """One passage that looks private, masked, with what stands around it."""

    annotation_id: int
    column: str
    candidate_id: int | None
    kind: str
    excerpt: str


class PrivateJson(Answer):
    """A part of a search for private data: it looked at ``searched`` judgements; the first says ``of`` how many in all."""

    of: int | None
    searched: int
    judgements: int
    rows: int
    passages: dict[str, int]
    places: list[PlaceJson]
    next: int | None
    found_by: str
    misses: str


class SnapshotJson(Answer):
    """A frozen export. ``sha256`` is that of its rows."""

    id: int
    name: str
    state: str
    rows: int | None
    train_rows: int | None
    held_out_rows: int | None
    sha256: str | None
    error: str | None
    created_at: datetime


class EntryJson(Answer):
    """One round of the answer to "is it better?"."""

    round: int
    state: str
    verdict: str | None
    over_before: RateJson | None
    over_base: RateJson | None
    reward_accuracy: RateJson | None


class BetterJson(Answer):
    """Whether the model is getting better, in a word, in words, and round by round."""

    answer: str
    words: str
    rounds: list[EntryJson]


class SnapshotList(Answer):
    """A page of snapshots."""

    snapshots: list[SnapshotJson]
    next: int | None


class ShareJson(Answer):
    """k of n, with the interval of the share."""

    k: int
    n: int
    low: float
    high: float


class StatisticsJson(Answer):
    """One person's work in numbers."""

    annotations: int
    median_seconds: float | None
    timed: int
    gold: ShareJson
    first_preferred: ShareJson
    longer_preferred: ShareJson
    edits_preferred: ShareJson


class AnnotatorJson(Answer):
    """Somebody with their numbers."""

    user_id: int
    pseudonym: str
    name: str | None
    statistics: StatisticsJson


class AnnotatorList(Answer):
    """A page of people."""

    annotators: list[AnnotatorJson]
    next: int | None


class RowOut(Answer):
    """An annotation as the desk lists it. ``seen`` is its latest review, 0 where there is none."""

    id: int
    seen: int
    batch_id: int
    batch: str
    prompt: str
    annotator: str
    purpose: str
    outcome: str
    edited: bool
    flagged: bool
    disagreed: bool
    holds: bool
    overruled: bool
    retracted: bool
    assigned: bool
    verdict: str | None
    seconds: float | None
    created_at: datetime


class DeskList(Answer):
    """A page of annotations. ``whole``: whether all are searched, or older ones are still made searchable."""

    annotations: list[RowOut]
    next: int | None
    whole: bool


class LeftRow(Answer):
    """A row that was left as it is, and why."""

    id: int
    why: str


class DoneOut(Answer):
    """What came of an act on many rows; ``said`` is the same in words."""

    act: str
    done: list[int]
    left: list[LeftRow]
    said: str


class PersonJson(Answer):
    """Somebody with an account."""

    id: int
    name: str
    email: str
    role: str
    pseudonym: str
    languages: list[str]
    disabled_at: datetime | None
    created_at: datetime


class InviteJson(Answer):
    """An invitation that nobody has used yet."""

    id: int
    role: str
    email: str | None
    expires_at: datetime
    mail_due_at: datetime | None
    mailed_at: datetime | None
    mail_error: str | None


class PeopleJson(Answer):
    """Everyone, and the invitations that are open."""

    users: list[PersonJson]
    invites: list[InviteJson]


class InviteSecret(Answer):
    """A new invitation; the only time its link is shown."""

    id: int
    link: str


class InvitedJson(Answer):
    """One of several new invitations; the link is null where it is mailed."""

    id: int
    email: str
    role: str
    link: str | None


class InvitesSecret(Answer):
    """New invitations, the only time their links are shown, and who has an account already."""

    present: list[str]
    invites: list[InvitedJson]
