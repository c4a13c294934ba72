"""Answers of the API, as far as programs need them. Fields that a newer server adds are ignored.

``tests/client/test_openapi.py`` holds each of them to the server's own description.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Me(_Answer):
    """The person that a token belongs to."""

    id: int
    name: str
    email: str
    role: str
    pseudonym: str
    languages: list[str]


# ── Prompts and responses ────────────────────────────────────────────────────────────────────────────────────────────
class ProgressJson(_Answer):
    """Counts of a batch. ``ready`` prompts have their responses; ``quarantined`` ones failed for good."""

    prompts: int
    pending: int
    generating: int
    ready: int
    unanimous: int
    quarantined: int
    comparisons: int
    comparisons_done: int
    comparisons_unstarted: int
    checks: int
    checks_done: int
    unchecked: int


class BatchJson(_Answer):
    """A batch of prompts with its settings."""

    id: int
    name: str
    state: str
    round: int
    capability: str | None
    language: str | None
    guidelines: str
    guidelines_version: int
    task: str
    candidates_per_prompt: int
    annotators_per_prompt: int
    overlap_percent: int
    selection: str
    sampled_per_prompt: int
    edit_policy: str
    max_tokens: int
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    progress: ProgressJson


class BatchList(_Answer):
    """A page of batches."""

    batches: list[BatchJson]
    next: int | None


class LeftOut(_Answer):
    """A line of a file that was left out, and why."""

    line: int
    reason: str


class ImportedJson(BatchJson):
    """A batch that was made just now, and what was left out of its file."""

    left_out: list[LeftOut]
    notes: list[str]


class PromptJson(_Answer):
    """A prompt, without its responses. ``source_id`` is the id in the file that it came from."""

    id: int
    source_id: str
    state: str
    origin: str
    language: str | None
    language_from: str | None
    capability: str | None
    text: str


class PromptList(_Answer):
    """A page of prompts."""

    prompts: list[PromptJson]
    next: int | None


class CandidateJson(_Answer):
    """A response. For reviewers all but its text and ``trace`` is None: others may yet judge it."""

    text: str
    trace: list[dict[str, Any]]
    checkpoint: str | None
    sampling: dict[str, Any] | None
    finish_reason: str | None
    completion_tokens: int | None


class PromptDetail(PromptJson):
    """A prompt with everything that came with it, and its responses."""

    batch_id: int
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    reference: str | None
    tests: Any
    metadata: dict[str, Any]
    candidates: list[CandidateJson]


# ── Judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class BatchOut(_Answer):
    """What an annotator sees of a batch."""

    id: int
    name: str
    guidelines: str


class PromptOut(_Answer):
    """What an annotator sees of a prompt."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None


class ResponseOut(_Answer):
    """A response at its position, which is all that is known of who wrote it."""

    position: str
    text: str
    steps: list[dict[str, Any]]


class AssignmentOut(_Answer):
    """An item that is yours to judge until ``lease_until``."""

    id: int
    fencing_token: int
    lease_until: datetime
    lease_seconds: int
    state: str
    batch: BatchOut
    prompt: PromptOut
    responses: list[ResponseOut]
    annotation_id: int | None
    returned_note: str | None


class AnnotationOut(_Answer):
    """A judgement that is stored. ``next`` is the next item, where it was asked for."""

    id: int
    assignment_id: int
    outcome: str
    created_at: datetime
    next: AssignmentOut | None = None


# ── Training ─────────────────────────────────────────────────────────────────────────────────────────────────────────
class RoundJson(_Answer):
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


class RoundList(_Answer):
    """All rounds, newest first, and what a training would learn from now. ``blocked`` says what keeps it from starting."""

    rounds: list[RoundJson]
    new_annotations: int
    trainable_pairs: int
    policy_pairs: int
    written_answers: int
    held_out_pairs: int
    minutes: int
    blocked: str | None


class RunJson(_Answer):
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
    error: str | None
    remedy: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunList(_Answer):
    """A page of runs."""

    training_runs: list[RunJson]
    next: int | None


class StartedRuns(_Answer):
    """What a start has queued, in the order it runs."""

    training_runs: list[RunJson]


class RateJson(_Answer):
    """A rate with its interval."""

    value: float
    low: float | None
    high: float | None


class ContestJson(_Answer):
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


class ContestList(_Answer):
    """A page of contests."""

    contests: list[ContestJson]
    next: int | None


class CheckpointJson(_Answer):
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


class CheckpointList(_Answer):
    """A page of checkpoints."""

    checkpoints: list[CheckpointJson]
    next: int | None


# ── Preferences and quality ──────────────────────────────────────────────────────────────────────────────────────────
class SnapshotJson(_Answer):
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


class EntryJson(_Answer):
    """One round of the answer to "is it better?"."""

    round: int
    state: str
    verdict: str | None
    over_before: RateJson | None
    over_base: RateJson | None
    reward_accuracy: RateJson | None


class BetterJson(_Answer):
    """Whether the model is getting better, in a word, in words, and round by round."""

    answer: str
    words: str
    rounds: list[EntryJson]


class SnapshotList(_Answer):
    """A page of snapshots."""

    snapshots: list[SnapshotJson]
    next: int | None


class ShareJson(_Answer):
    """k of n, with the interval of the share."""

    k: int
    n: int
    low: float
    high: float


class StatisticsJson(_Answer):
    """One person's work in numbers."""

    annotations: int
    median_seconds: float | None
    timed: int
    gold: ShareJson
    first_preferred: ShareJson
    longer_preferred: ShareJson
    edits_preferred: ShareJson


class AnnotatorJson(_Answer):
    """Somebody with their numbers."""

    user_id: int
    pseudonym: str
    name: str | None
    statistics: StatisticsJson


class AnnotatorList(_Answer):
    """A page of people."""

    annotators: list[AnnotatorJson]
    next: int | None


class PersonJson(_Answer):
    """Somebody with an account."""

    id: int
    name: str
    email: str
    role: str
    pseudonym: str
    languages: list[str]
    disabled_at: datetime | None
    created_at: datetime


class InviteJson(_Answer):
    """An invitation that nobody has used yet."""

    id: int
    role: str
    email: str | None
    expires_at: datetime


class PeopleJson(_Answer):
    """Everyone, and the invitations that are open."""

    users: list[PersonJson]
    invites: list[InviteJson]


class InviteSecret(_Answer):
    """A new invitation; the only time its link is shown."""

    id: int
    link: str
