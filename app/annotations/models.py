"""What is compared, who holds it, and what they said. The constraints here are the promises."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.candidates.models import Candidate
from app.db import Base, Created, Json, Key, Time, enum_column
from app.prompts.models import Prompt


class Strength(IntEnum):
    """How much better a response is than the next one."""

    MARGINALLY_BETTER = 1
    SLIGHTLY_BETTER = 2
    BETTER = 3
    SIGNIFICANTLY_BETTER = 4


class Purpose(StrEnum):
    """Why a comparison exists."""

    COLLECT = "collect"


class Comparison(Base):
    """A prompt with the candidates that are shown, blind.

    ``seats_free`` = wanted - done - leased, kept in the same transaction as the lease or the annotation; the CHECKs make
    an overshoot impossible whatever the clients do.
    """

    __tablename__ = "comparisons"
    __table_args__ = (
        UniqueConstraint("prompt_id", "purpose"),
        CheckConstraint("annotators_wanted BETWEEN 1 AND 20", name="annotators_wanted_range"),
        CheckConstraint("annotators_done BETWEEN 0 AND annotators_wanted", name="never_over_annotated"),
        CheckConstraint("seats_free BETWEEN 0 AND annotators_wanted - annotators_done", name="seats_free_range"),
        Index("ix_comparisons_claim", "batch_id", "id", postgresql_where=text("seats_free > 0")),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    purpose: Mapped[Purpose] = mapped_column(enum_column(Purpose, "purpose"), default=Purpose.COLLECT)
    annotators_wanted: Mapped[int]
    annotators_done: Mapped[int] = mapped_column(default=0, server_default="0")
    seats_free: Mapped[int]
    created_at: Mapped[Created]

    prompt: Mapped[Prompt] = relationship(lazy="raise")
    candidates: Mapped[list[Candidate]] = relationship(secondary="comparison_candidates", lazy="raise")


class ComparisonCandidate(Base):
    """Which candidates a comparison shows."""

    __tablename__ = "comparison_candidates"

    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"), primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"), primary_key=True)


class AssignmentState(StrEnum):
    """``active`` holds a seat. ``released``: the lease ran out; the draft stays and may still be submitted."""

    ACTIVE = "active"
    RELEASED = "released"
    SKIPPED = "skipped"
    SUBMITTED = "submitted"


class Assignment(Base):
    """A comparison leased to one annotator, with the order shown."""

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("comparison_id", "annotator_id"),
        CheckConstraint("(state = 'skipped') = (skip_reason IS NOT NULL)", name="skip_has_reason"),
        Index("ix_assignments_held", "annotator_id", postgresql_where=text("state = 'active'")),
        Index("ix_assignments_expiry", "lease_until", postgresql_where=text("state = 'active'")),
        Index(None, "annotator_id", "state"),
    )

    id: Mapped[Key]
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    state: Mapped[AssignmentState] = mapped_column(
        enum_column(AssignmentState, "state"), default=AssignmentState.ACTIVE
    )
    lease_until: Mapped[Time]
    """By the database's clock."""
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=1, server_default="1")
    """Grows with each lease of this row; a submit names the one it was given."""
    order_shown: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """Candidate ids in the order drawn for this annotator. The browser knows only positions: A is the first."""
    draft: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    draft_version: Mapped[int] = mapped_column(default=0, server_default="0")
    skip_reason: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[Created]

    comparison: Mapped[Comparison] = relationship(lazy="raise")
    annotator: Mapped[User] = relationship(lazy="raise")


class Outcome(StrEnum):
    """What the annotator concluded. "All unacceptable" is not a tie: nothing in it may be called chosen."""

    RANKED = "ranked"
    TIE = "tie"
    ALL_UNACCEPTABLE = "all_unacceptable"


class EditSource(StrEnum):
    """How the edited text came about."""

    DIRECT = "direct"


class Annotation(Base):
    """One annotator's immutable submission; a correction is a new row that supersedes the old one.

    ``ranking`` is a list of groups of candidate ids, best first; ties share a group. ``strengths[i]`` says how much
    better group i is than group i + 1.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("annotator_id", "idempotency_key"),
        Index(
            "uq_annotations_current", "assignment_id", unique=True, postgresql_where=text("superseded_by_id IS NULL")
        ),
        CheckConstraint(
            "(outcome = 'ranked') = (coalesce(array_length(strengths, 1), 0) > 0)", name="ranked_has_strengths"
        ),
        CheckConstraint("strengths <@ ARRAY[1, 2, 3, 4]", name="strength_levels"),
        CheckConstraint(
            "outcome <> 'ranked' OR jsonb_array_length(ranking) = array_length(strengths, 1) + 1",
            name="strength_between_neighbours",
        ),
        CheckConstraint("(edited_text IS NULL) = (edited_candidate_id IS NULL)", name="edit_names_its_candidate"),
        CheckConstraint("(edited_text IS NULL) = (edit_source IS NULL)", name="edit_has_source"),
        CheckConstraint("edited_text IS NULL OR outcome = 'ranked'", name="edit_of_a_chosen_response"),
        CheckConstraint("active_seconds IS NULL OR active_seconds >= 0", name="active_seconds_positive"),
        Index(None, "comparison_id"),
        Index(None, "annotator_id", "created_at"),
    )

    id: Mapped[Key]
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"))
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    outcome: Mapped[Outcome] = mapped_column(enum_column(Outcome, "outcome"))
    ranking: Mapped[list[list[int]]] = mapped_column(JSONB)
    strengths: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    edited_candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    edited_text: Mapped[str | None]
    edit_source: Mapped[EditSource | None] = mapped_column(enum_column(EditSource, "edit_source"))
    comment: Mapped[str] = mapped_column(server_default="")
    order_shown: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    active_seconds: Mapped[float | None]
    idempotency_key: Mapped[str] = mapped_column(String(200))
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of what was submitted: the same key with another body is refused."""
    superseded_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("annotations.id", deferrable=True, initially="DEFERRED")
    )
    """Set just before the correction is inserted, so that at no moment two rows are current."""
    created_at: Mapped[Created]

    assignment: Mapped[Assignment] = relationship(lazy="raise")
    comparison: Mapped[Comparison] = relationship(lazy="raise")
    annotator: Mapped[User] = relationship(lazy="raise")
