"""The ledger of checks, and what they found. The constraints here are the promises."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.kernel.leases import Retried


class CheckState(StrEnum):
    """``pending`` → ``checking`` (leased) → ``done``; after the last try ``failed``, with the reason."""

    PENDING = "pending"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"


class Check(Retried, Base):
    """The ledger row of the check of one text: a response, a submitted edit, or an edit that is still being written."""

    __tablename__ = "checks"
    __table_args__ = (
        UniqueConstraint("candidate_id"),
        UniqueConstraint("annotation_id"),
        CheckConstraint("num_nonnulls(candidate_id, annotation_id, assignment_id) = 1", name="of_one_text"),
        CheckConstraint("(assignment_id IS NULL) = (draft IS NULL)", name="draft_of_an_assignment"),
        CheckConstraint("(state = 'checking') = (lease_until IS NOT NULL)", name="lease_while_checking"),
        CheckConstraint("state <> 'failed' OR last_error IS NOT NULL", name="failure_has_reason"),
        Index("ix_checks_waiting", "next_try_at", "id", postgresql_where=text("state = 'pending'")),
        Index(
            "ix_checks_waited_for",
            "next_try_at",
            "id",
            postgresql_where=text("state = 'pending' AND assignment_id IS NOT NULL"),
        ),
        Index("ix_checks_leased", "lease_until", postgresql_where=text("state = 'checking'")),
        Index("ix_checks_batch_state", "batch_id", "state"),
        Index(None, "prompt_id"),
        Index("ix_checks_drafts", "assignment_id", "id", postgresql_where=text("assignment_id IS NOT NULL")),
        Index("ix_checks_asked", "asked_by_id", "created_at", postgresql_where=text("asked_by_id IS NOT NULL")),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    annotation_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id"))
    """Whose edited text is checked."""
    assignment_id: Mapped[int | None] = mapped_column(ForeignKey("assignments.id"))
    """Whose annotator asked for a check before submitting. The row goes when the item is submitted, or after a day."""
    draft: Mapped[str | None]
    """What the annotator had written then."""
    draft_findings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    """What was found of it; it becomes rows of ``findings`` if this text is what is submitted."""
    asked_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    state: Mapped[CheckState] = mapped_column(
        enum_column(CheckState, "state"), default=CheckState.PENDING, server_default=CheckState.PENDING.value
    )
    found_token: Mapped[int | None] = mapped_column(BigInteger)
    """The lease whose findings stand. A text that is checked again has those of earlier leases, too."""
    created_at: Mapped[Created]
    finished_at: Mapped[Time | None]


class Finding(Base):
    """What one verifier found of one text. Never updated: a text that is checked again gets further rows."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("check_id", "fencing_token", "verifier"),
        CheckConstraint("num_nonnulls(candidate_id, annotation_id) = 1", name="of_one_text"),
        CheckConstraint("pg_column_size(evidence) <= 65536", name="evidence_size"),
        Index("ix_findings_candidate_id", "candidate_id", postgresql_where=text("candidate_id IS NOT NULL")),
        Index("ix_findings_annotation_id", "annotation_id", postgresql_where=text("annotation_id IS NOT NULL")),
        Index("ix_findings_facts", "case_hash", "id", postgresql_where=text("verifier = 'facts'")),
    )

    id: Mapped[Key]
    check_id: Mapped[int] = mapped_column(ForeignKey("checks.id"))
    fencing_token: Mapped[int] = mapped_column(BigInteger)
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    annotation_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id"))
    verifier: Mapped[str] = mapped_column(String(60))
    version: Mapped[str] = mapped_column(String(120))
    case_hash: Mapped[str] = mapped_column(String(64))
    """SHA-256 of all that the verifier was given."""
    passed: Mapped[bool | None]
    """None where it could not be checked; ``message`` says why. That says nothing against the text."""
    score: Mapped[float | None]
    message: Mapped[str]
    evidence: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    created_at: Mapped[Created]


class Verdict(StrEnum):
    """What a person or a judge says of a response that was held against a source.

    The words stand again in ``workers/verifiers/judging.py``, and a test holds the two equal: verifiers run without the
    application.
    """

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NOT_ATTEMPTED = "not_attempted"


class FactLabel(Base):
    """What a person said of a response whose facts were checked. Never updated: a second thought is a row, the last counts."""

    __tablename__ = "fact_labels"
    __table_args__ = (Index(None, "finding_id"),)

    id: Mapped[Key]
    finding_id: Mapped[int] = mapped_column(ForeignKey("findings.id"))
    """Names the response and, by its ``case_hash``, all that it was held against; the judge's verdict plays no part."""
    verdict: Mapped[Verdict] = mapped_column(enum_column(Verdict, "verdict"))
    labelled_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


STANDS = (Finding.check_id == Check.id) & (Finding.fencing_token == Check.found_token)
"""Joins a finding to its check where it is what the latest completed check found."""
