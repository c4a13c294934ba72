"""What people said of comparisons, and what was made of it. The constraints here are the promises."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    and_,
    exists,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship

from app.accounts.models import User
from app.candidates.models import LiveGeneration
from app.comparisons.models import Assignment, Comparison
from app.judgements.vocabulary import EditSource, Outcome
from app.kernel.db import Base, Created, Json, Key, Time, enum_column


class Annotation(Base):
    """One annotator's immutable submission; a correction is a new row that supersedes the old one.

    ``ranking`` is a list of groups of candidate ids, best first; ties share a group. ``strengths[i]`` says how much
    better group i is than group i + 1. Of an answer that was written from scratch both are empty, and ``edited_text`` is it. Of
    labels of steps both are empty, and they are rows of ``step_labels``.
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
        Index("ix_annotations_retraction_id", "retraction_id", postgresql_where=text("retraction_id IS NOT NULL")),
        CheckConstraint(
            "(outcome = 'ranked') = (coalesce(array_length(strengths, 1), 0) > 0)", name="ranked_has_strengths"
        ),
        CheckConstraint("strengths <@ ARRAY[1, 2, 3, 4]", name="strength_levels"),
        CheckConstraint(
            "outcome <> 'ranked' OR jsonb_array_length(ranking) = array_length(strengths, 1) + 1",
            name="strength_between_neighbours",
        ),
        CheckConstraint(
            "(edited_text IS NULL OR outcome = 'written') = (edited_candidate_id IS NULL)",
            name="edit_names_its_candidate",
        ),
        CheckConstraint("(edited_text IS NULL) = (edit_source IS NULL)", name="edit_has_source"),
        CheckConstraint("edited_text IS NULL OR outcome IN ('ranked', 'written')", name="edit_of_a_chosen_response"),
        CheckConstraint(
            "outcome <> 'written' OR (edited_text IS NOT NULL AND ranking = '[]' AND cardinality(order_shown) = 0)",
            name="written_where_nothing_is_shown",
        ),
        CheckConstraint(
            "outcome <> 'labelled' OR (edited_text IS NULL AND ranking = '[]' AND cardinality(order_shown) = 1)",
            name="labelled_where_one_is_shown",
        ),
        CheckConstraint("edited_text IS NULL OR NOT nothing_to_improve", name="improved_or_nothing_to_improve"),
        CheckConstraint(
            "(edit_source IN ('revision', 'adjusted')) IS NOT TRUE OR revision_id IS NOT NULL", name="revision_is_named"
        ),
        CheckConstraint("active_seconds IS NULL OR active_seconds >= 0", name="active_seconds_positive"),
        Index(None, "comparison_id"),
        Index(None, "annotator_id", "created_at"),
        Index(
            "ix_annotations_superseded_by_id", "superseded_by_id", postgresql_where=text("superseded_by_id IS NOT NULL")
        ),
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
    retraction_id: Mapped[int | None] = mapped_column(ForeignKey("retractions.id"))
    """An admin took it out of exports, training and contests. The row stays, so that lineage still finds it."""
    created_at: Mapped[Created]

    assignment: Mapped[Assignment] = relationship(lazy="raise")
    comparison: Mapped[Comparison] = relationship(lazy="raise", foreign_keys=[comparison_id])
    annotator: Mapped[User] = relationship(lazy="raise")


class AnnotationChange(Base):
    """A transaction in which an annotation came, or began or ceased to count. Triggers write it, and nothing else does.

    It is not in a dump: the number of a transaction means nothing in another database.
    """

    __tablename__ = "annotation_changes"

    xid: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    annotation_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """No reference: annotations are never deleted, and this is on the way of every submission."""
    created: Mapped[bool]


class AnnotationText(Base):
    """What an annotation is searched by (:mod:`app.annotations.texts`); written seconds after it, and blanked by erasing."""

    __tablename__ = "annotation_texts"
    __table_args__ = (
        Index("ix_annotation_texts_terms", "terms", postgresql_using="gin"),
        Index("ix_annotation_texts_moment", "moment", "annotation_id"),
        Index("ix_annotation_texts_seconds", "seconds", "annotation_id", postgresql_where=text("seconds IS NOT NULL")),
    )

    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(deferred=True)
    """Prompt, chosen response, edit and comment, folded, a line each."""
    terms: Mapped[str] = mapped_column(TSVECTOR, deferred=True)
    """The grams of ``folded``, and with weight A what the annotation says: ``batch:4``, ``outcome:tie``."""
    moment: Mapped[Time]
    """When it was made, as there; here to walk by."""
    seconds: Mapped[float | None]
    """Its ``active_seconds``; here to walk by."""


class StepLabel(Base):
    """What one step of a response is, by one annotation; never changed, because a correction is another annotation.

    ``starts`` and ``ends`` are the step's characters in the response as sampled, the end not included: steps are cut when they
    are labelled, and what was said of them holds however they are cut later.
    """

    __tablename__ = "step_labels"
    __table_args__ = (
        UniqueConstraint("annotation_id", "place"),
        CheckConstraint("label BETWEEN -1 AND 1", name="label_range"),
        CheckConstraint("place >= 0", name="place_positive"),
        CheckConstraint("starts >= 0 AND ends > starts", name="span"),
        CheckConstraint("correction IS NULL OR label = -1", name="corrects_what_is_wrong"),
        Index(None, "candidate_id"),
    )

    id: Mapped[Key]
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    place: Mapped[int]
    """Among the steps of the response, from 0."""
    starts: Mapped[int]
    ends: Mapped[int]
    label: Mapped[int] = mapped_column(SmallInteger)
    """1 right, 0 neutral, -1 wrong: the last one."""
    correction: Mapped[str | None]
    """What should stand in place of the wrong step."""


STANDING = Annotation.superseded_by_id.is_(None) & Annotation.withdrawn_at.is_(None)
"""Whether an annotation is its annotator's word now: neither corrected nor taken back. It holds a seat."""


class RetractionScope(StrEnum):
    """What was retracted as a whole."""

    ANNOTATION = "annotation"
    PERSON = "person"
    BATCH = "batch"


class Retraction(Base):
    """An admin's act that takes annotations out of exports, training and contests, with its reason."""

    __tablename__ = "retractions"
    __table_args__ = (
        CheckConstraint("reason <> ''", name="says_why"),
        CheckConstraint("restored_at IS NULL OR NOT erased", name="erased_stays"),
    )

    id: Mapped[Key]
    scope: Mapped[RetractionScope] = mapped_column(enum_column(RetractionScope, "scope"))
    target_id: Mapped[int] = mapped_column(BigInteger)
    """Of the annotation, the user or the batch."""
    reason: Mapped[str]
    annotations: Mapped[int]
    """How many rows it took out, earlier versions of corrected ones among them."""
    erased: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether what the person wrote was blanked as well."""
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    """When it was done, after it had waited for others: a snapshot that is asked for later holds none of it."""
    restored_at: Mapped[Time | None]
    """When its annotations were brought back; until then it is in force."""
    restored_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


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


class GoldAnswer(Base):
    """The known answer of a gold comparison."""

    __tablename__ = "gold_answers"
    __table_args__ = (
        CheckConstraint("(outcome = 'ranked') = (best_candidate_id IS NOT NULL)", name="ranked_names_the_best"),
        CheckConstraint("outcome NOT IN ('written', 'labelled')", name="compares"),
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


class Decision(StrEnum):
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
    verdict: Mapped[Decision] = mapped_column(enum_column(Decision, "verdict"))
    note: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[Created]


class Adjudication(Base):
    """A reviewer's choice of one judgement of an item as the one that holds, with the reason; a later choice ends it.

    While it is in force, and its judgement stands, the others of the item do not count.
    """

    __tablename__ = "adjudications"
    __table_args__ = (
        Index("uq_adjudications_in_force", "comparison_id", unique=True, postgresql_where=text("ended_at IS NULL")),
        CheckConstraint("reason <> ''", name="says_why"),
        Index(None, "comparison_id"),
    )

    id: Mapped[Key]
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"))
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    reason: Mapped[str]
    adjudicator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    ended_at: Mapped[Time | None]


_later = aliased(Review, name="later_review")
RETURNED = (
    select(literal_column("1"))
    .where(
        Review.annotation_id == Annotation.id,
        Review.verdict == literal_column(f"'{Decision.RETURNED}'"),
        ~exists().where(_later.annotation_id == Review.annotation_id, _later.id > Review.id),
    )
    .correlate(Annotation)
    .exists()
)
"""Whether a reviewer's last word on it is that its annotator should look again."""
_holds = aliased(Annotation, name="holds")
OVERRULED = (
    select(literal_column("1"))
    .join(_holds, _holds.id == Adjudication.annotation_id)
    .where(
        Adjudication.comparison_id == Annotation.comparison_id,
        Adjudication.ended_at.is_(None),
        Adjudication.annotation_id != Annotation.id,
        _holds.superseded_by_id.is_(None),
        _holds.withdrawn_at.is_(None),
        _holds.retraction_id.is_(None),
    )
    .select_from(Adjudication)
    .correlate(Annotation)
    .exists()
)
"""Whether a reviewer chose another judgement of the item as the one that holds, and that one stands."""
COUNTS = and_(STANDING, Annotation.retraction_id.is_(None), ~RETURNED, ~OVERRULED)
"""Whether exports, training and contests take it: it stands, and is neither returned, nor retracted, nor overruled."""
