"""What is compared, who holds it, and what they said. The constraints here are the promises."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

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
from app.candidates.models import Candidate, LiveGeneration
from app.db import Base, Created, Json, Key, Time, enum_column
from app.prompts.models import Prompt


class Strength(IntEnum):
    """How much better a response is than the next one."""

    MARGINALLY_BETTER = 1
    SLIGHTLY_BETTER = 2
    BETTER = 3
    SIGNIFICANTLY_BETTER = 4


class Purpose(StrEnum):
    """Why a comparison exists. Only what is collected becomes a preference; the page shows no difference."""

    COLLECT = "collect"
    GOLD = "gold"
    """The answer is known: it measures the annotator."""
    VERIFY_EDIT = "verify_edit"
    """A response against somebody's improved text of it: it measures the edit."""


class Comparison(Base):
    """A prompt with the candidates that are shown, blind.

    ``seats_free`` = wanted - done - leased, kept in the same transaction as the lease or the annotation; the CHECKs make
    an overshoot impossible whatever the clients do.
    """

    __tablename__ = "comparisons"
    __table_args__ = (
        Index(
            "uq_comparisons_one_per_purpose",
            "prompt_id",
            "purpose",
            unique=True,
            postgresql_where=text("purpose <> 'verify_edit'"),
        ),
        UniqueConstraint("verifies_id"),
        CheckConstraint(
            "annotators_wanted BETWEEN 1 AND 20 OR (purpose = 'gold' AND annotators_wanted > 0)",
            name="annotators_wanted_range",
        ),
        CheckConstraint("(purpose = 'verify_edit') = (verifies_id IS NOT NULL)", name="verifies_an_edit"),
        CheckConstraint("annotators_done BETWEEN 0 AND annotators_wanted", name="never_over_annotated"),
        CheckConstraint("seats_free BETWEEN 0 AND annotators_wanted - annotators_done", name="seats_free_range"),
        Index("ix_comparisons_claim", "batch_id", "id", postgresql_where=text("seats_free > 0")),
        Index("ix_comparisons_gold", "batch_id", "id", postgresql_where=text("purpose = 'gold'")),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    purpose: Mapped[Purpose] = mapped_column(enum_column(Purpose, "purpose"), default=Purpose.COLLECT)
    annotators_wanted: Mapped[int]
    annotators_done: Mapped[int] = mapped_column(default=0, server_default="0")
    seats_free: Mapped[int]
    not_for_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Who must not be given it: the author of the edit, or of the known answer."""
    verifies_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id", use_alter=True))
    """The annotation whose edit is compared with its original."""
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
    """Written by the annotator."""
    REVISION = "revision"
    """Written by the model after the annotator's feedback, and accepted as it came."""
    ADJUSTED = "adjusted"
    """A revision by the model that the annotator then changed."""


class Flag(StrEnum):
    """What is wrong with a response beyond its quality."""

    UNSAFE = "unsafe"
    PRIVATE_DATA = "private_data"
    BROKEN_RENDERING = "broken_rendering"


class SpanLabel(StrEnum):
    """What a marked passage is."""

    FALSE = "false"
    UNSUPPORTED = "unsupported"
    UNSAFE = "unsafe"
    UNCLEAR = "unclear"
    GOOD = "good"


class Annotation(Base):
    """One annotator's immutable submission; a correction is a new row that supersedes the old one.

    ``ranking`` is a list of groups of candidate ids, best first; ties share a group. ``strengths[i]`` says how much
    better group i is than group i + 1.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("annotator_id", "idempotency_key"),
        Index(
            "uq_annotations_standing",
            "assignment_id",
            unique=True,
            postgresql_where=text("superseded_by_id IS NULL AND withdrawn_at IS NULL"),
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
        CheckConstraint("edited_text IS NULL OR NOT nothing_to_improve", name="improved_or_nothing_to_improve"),
        CheckConstraint(
            "(edit_source IN ('revision', 'adjusted')) IS NOT TRUE OR revision_id IS NOT NULL", name="revision_is_named"
        ),
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
    revision_id: Mapped[int | None] = mapped_column(ForeignKey("revisions.id"))
    """The model's revision that the edited text is, or began as."""
    nothing_to_improve: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """The annotator said that the chosen response is as good as they could make it."""
    attributes: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """By candidate id and attribute name, the place on the batch's scale, from 1: ``{"17": {"helpful": 3}}``."""
    flags: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """By candidate id: ``{"17": ["unsafe"]}``."""
    spans: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    """Passages with a label and a note: ``{"candidate_id", "start", "end", "label", "note"}``; characters of the text as
    sampled, the end not included."""
    comment: Mapped[str] = mapped_column(server_default="")
    guidelines_version: Mapped[int] = mapped_column(default=1, server_default="1")
    """The guidelines that were beside the work."""
    order_shown: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    active_seconds: Mapped[float | None]
    idempotency_key: Mapped[str] = mapped_column(String(200))
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    """SHA-256 of what was submitted: the same key with another body is refused."""
    superseded_by_id: Mapped[int | None] = mapped_column(
        ForeignKey("annotations.id", deferrable=True, initially="DEFERRED")
    )
    """Set just before the correction is inserted, so that at no moment two rows are current."""
    withdrawn_at: Mapped[Time | None]
    """Taken back by its annotator, within seconds: the item was judged anew, or left."""
    created_at: Mapped[Created]

    assignment: Mapped[Assignment] = relationship(lazy="raise")
    comparison: Mapped[Comparison] = relationship(lazy="raise", foreign_keys=[comparison_id])
    annotator: Mapped[User] = relationship(lazy="raise")


STANDING = Annotation.superseded_by_id.is_(None) & Annotation.withdrawn_at.is_(None)
"""Whether an annotation is its annotator's word now: neither corrected nor taken back."""


class Revision(Base):
    """A response that the model was asked to improve: the annotator's feedback, and the generation that answers it."""

    __tablename__ = "revisions"
    __table_args__ = (Index(None, "assignment_id"),)

    id: Mapped[Key]
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignments.id"))
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    feedback: Mapped[str]
    source_text: Mapped[str]
    """The text that was to be revised: the response, or what the annotator had made of it by then."""
    generation_id: Mapped[int] = mapped_column(ForeignKey("live_generations.id"), unique=True)
    created_at: Mapped[Created]

    generation: Mapped[LiveGeneration] = relationship(lazy="raise")


class JudgementRead(Base):
    """A prompt of which somebody has read what another person said, or its known answer: they are given it no more."""

    __tablename__ = "judgements_read"

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    read_at: Mapped[Created]


class GoldAnswer(Base):
    """The known answer of a gold comparison."""

    __tablename__ = "gold_answers"
    __table_args__ = (
        CheckConstraint("(outcome = 'ranked') = (best_candidate_id IS NOT NULL)", name="ranked_names_the_best"),
    )

    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"), primary_key=True)
    outcome: Mapped[Outcome] = mapped_column(enum_column(Outcome, "outcome"))
    best_candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    explanation: Mapped[str]
    """Markdown; shown after the answer while somebody qualifies, never on an item that is mixed in."""
    from_annotation_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id"))
    written_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]


class Qualification(Base):
    """Whether somebody may work on a batch that asks for a qualification; decided once all its items are answered."""

    __tablename__ = "qualifications"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    answered: Mapped[int]
    correct: Mapped[int]
    passed: Mapped[bool]
    after_annotation_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Answers up to this one belong to an attempt that a reviewer has set back; with ``answered`` 0 the new one runs."""
    decided_at: Mapped[Created]


class Verdict(StrEnum):
    """What a reviewer made of an annotation."""

    ACCEPTED = "accepted"
    RETURNED = "returned"


class Review(Base):
    """A reviewer's word on an annotation. Returned, it is back in its annotator's queue until a correction supersedes it."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index(None, "annotation_id"),
        Index("ix_reviews_returned", "annotation_id", postgresql_where=text("verdict = 'returned'")),
        CheckConstraint("verdict <> 'returned' OR note <> ''", name="returned_says_why"),
    )

    id: Mapped[Key]
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    reviewer_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    verdict: Mapped[Verdict] = mapped_column(enum_column(Verdict, "verdict"))
    note: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[Created]
