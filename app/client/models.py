"""Answers of the API about prompts and judgements, as far as programs need them. Fields that a newer server adds are ignored.

``tests/client/test_openapi.py`` holds each of them to the server's own description, as those of :mod:`app.client.outcomes`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """What the server says; it does not change."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Me(Answer):
    """The person that a token belongs to."""

    id: int
    name: str
    email: str
    role: str
    pseudonym: str
    languages: list[str]


# ── Prompts and responses ────────────────────────────────────────────────────────────────────────────────────────────
class ProgressJson(Answer):
    """Counts of a batch. ``ready`` prompts have their responses; ``quarantined`` ones failed for good."""

    prompts: int
    pending: int
    generating: int
    ready: int
    unanimous: int
    quarantined: int
    withdrawn: int
    comparisons: int
    comparisons_done: int
    comparisons_unstarted: int
    checks: int
    checks_done: int
    unchecked: int


class NamedJson(Answer):
    """A team, a person or a batch, by its id and name."""

    id: int
    name: str


class BatchJson(Answer):
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
    priority: str
    deadline: datetime | None
    overdue: bool
    quota: int | None
    readers_only: bool
    assigned_only: bool
    teams: list[NamedJson]
    people: list[NamedJson]
    barred: list[NamedJson]
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    progress: ProgressJson


class TeamJson(Answer):
    """A team: the people in it, and the batches that are assigned to it."""

    id: int
    name: str
    members: list[NamedJson]
    batches: list[NamedJson]


class TeamList(Answer):
    """All teams."""

    teams: list[TeamJson]


class BatchList(Answer):
    """A page of batches."""

    batches: list[BatchJson]
    next: int | None


class LeftOut(Answer):
    """A line of a file that was left out, and why."""

    line: int
    reason: str


class ImportedJson(BatchJson):
    """A batch that was made just now, and what was left out of its file."""

    left_out: list[LeftOut]
    notes: list[str]


class AppendedJson(Answer):
    """What came of more prompts for a batch, and the batch as it is now. ``skipped`` ones it has already."""

    added: int
    skipped: int
    left_out: list[LeftOut]
    notes: list[str]
    batch: BatchJson


class FirstJson(Answer):
    """One of the first new prompts of a file."""

    line: int
    id: str
    capability: str | None
    language: str | None
    messages: list[dict[str, Any]]


class Reason(Answer):
    """Refused lines of one kind."""

    reason: str
    count: int


class AppendPreviewJson(Answer):
    """What would come of more prompts for a batch: how many are ``new``, ``known`` to it, or ``refused``."""

    new: int
    known: int
    refused: int
    first: list[FirstJson]
    left_out: list[LeftOut]
    left_out_by_reason: list[Reason]
    notes: list[str]


class PromptJson(Answer):
    """A prompt, without its responses. ``source_id`` is the id in the file that it came from."""

    id: int
    source_id: str
    state: str
    origin: str
    language: str | None
    language_from: str | None
    capability: str | None
    text: str


class PromptList(Answer):
    """A page of prompts."""

    prompts: list[PromptJson]
    next: int | None


class CandidateJson(Answer):
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
class BatchOut(Answer):
    """What an annotator sees of a batch."""

    id: int
    name: str
    deadline: datetime | None
    guidelines: str


class PromptOut(Answer):
    """What an annotator sees of a prompt."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None


class ResponseOut(Answer):
    """A response at its position, which is all that is known of who wrote it."""

    position: str
    text: str
    steps: list[dict[str, Any]]


class AssignmentOut(Answer):
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


class AnnotationOut(Answer):
    """A judgement that is stored. ``next`` is the next item, where it was asked for."""

    id: int
    assignment_id: int
    outcome: str
    created_at: datetime
    next: AssignmentOut | None = None
