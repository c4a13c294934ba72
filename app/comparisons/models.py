"""What is compared and who holds it. The constraints here are the promises."""

from __future__ import annotations

from enum import StrEnum
from random import SystemRandom

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    and_,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.accounts.models import User
from app.candidates.models import Candidate
from app.kernel.db import Base, Created, Json, Key, Time, enum_column
from app.prompts.models import Prompt


class Purpose(StrEnum):
    """Why a comparison exists. Only what is collected becomes a preference; where responses are shown, none looks different."""

    COLLECT = "collect"
    GOLD = "gold"
    """The answer is known: it measures the annotator."""
    VERIFY_EDIT = "verify_edit"
    """A response against somebody's improved text of it: it measures the edit."""
    WRITE = "write"
    """No response is shown: people write the answer. It trains, and it prefers nothing."""
    STEPS = "steps"
    """One response is shown: people label its steps. It prefers nothing, and is no preference."""


class Drawn(StrEnum):
    """How a comparison came to show these candidates. Only what was drawn at random counts in gate, board and accuracy."""

    RANDOM = "random"
    SELECTED = "selected"
    """Chosen out of more answers, because a judgement of it teaches most."""


PLACES = 2**31


def draw_position() -> int:
    """A place in the queue that says nothing of where the prompt stood in its file."""
    return SystemRandom().randrange(PLACES)


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
            "annotators_wanted BETWEEN 0 AND 20 OR (purpose = 'gold' AND annotators_wanted > 0)",
            name="annotators_wanted_range",
        ),
        CheckConstraint("(purpose = 'verify_edit') = (verifies_id IS NOT NULL)", name="verifies_an_edit"),
        CheckConstraint("annotators_done BETWEEN 0 AND annotators_wanted", name="never_over_annotated"),
        CheckConstraint("seats_free BETWEEN 0 AND annotators_wanted - annotators_done", name="seats_free_range"),
        Index("ix_comparisons_claim", "batch_id", "position", "id", postgresql_where=text("seats_free > 0")),
        # as the claim of somebody who said what they read: each language is a queue of its own
        Index(
            "ix_comparisons_language", "language", "batch_id", "position", "id", postgresql_where=text("seats_free > 0")
        ),
        CheckConstraint("propensity > 0 AND propensity <= 1", name="propensity_range"),
        Index("ix_comparisons_gold", "batch_id", "position", "id", postgresql_where=text("purpose = 'gold'")),
        Index("ix_comparisons_doubted", "id", postgresql_where=text("doubted_by_id IS NOT NULL")),
    )

    id: Mapped[Key]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    purpose: Mapped[Purpose] = mapped_column(enum_column(Purpose, "purpose"), default=Purpose.COLLECT)
    annotators_wanted: Mapped[int]
    """0 where its prompt is withdrawn."""
    annotators_done: Mapped[int] = mapped_column(default=0, server_default="0")
    seats_free: Mapped[int]
    position: Mapped[int] = mapped_column(default=draw_position, server_default="0")
    """Place in its batch's queue, drawn at random, so that topics do not come in the order of a file. 0 in older rows."""
    language: Mapped[str] = mapped_column(String(12), default="", server_default="")
    """That of its prompt, or of its batch: only who reads it is given it. Empty: unknown, for everybody."""
    drawn: Mapped[Drawn] = mapped_column(
        enum_column(Drawn, "drawn"), default=Drawn.RANDOM, server_default=Drawn.RANDOM.value
    )
    propensity: Mapped[float | None]
    """Of one that was selected: how probable it was that these candidates would be shown."""
    doubted_by_id: Mapped[int | None] = mapped_column(ForeignKey("checkpoints.id"))
    """The reward model that one person's judgement contradicted, so that a second person was asked."""
    not_for_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Who must not be given it: the author of the edit, or of the known answer."""
    verifies_id: Mapped[int | None] = mapped_column(ForeignKey("annotations.id", use_alter=True))
    """The annotation whose edit is compared with its original."""
    created_at: Mapped[Created]

    prompt: Mapped[Prompt] = relationship(lazy="raise")
    candidates: Mapped[list[Candidate]] = relationship(secondary="comparison_candidates", lazy="raise")


GOLD_SEATS = 10_000
"""What a comparison with a known answer wants: everybody may meet it, once. A retired one wants fewer."""
KNOWN_ANSWER_IN_USE = and_(
    Comparison.purpose == literal_column(f"'{Purpose.GOLD}'"),
    Comparison.annotators_wanted == literal_column(str(GOLD_SEATS)),
)
"""Whether a comparison has a known answer and is not retired."""


class ComparisonCandidate(Base):
    """Which candidates a comparison shows."""

    __tablename__ = "comparison_candidates"

    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id"), primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"), primary_key=True)


class ChoiceAwaited(Base):
    """A prompt whose responses are sampled, and of which it is not yet chosen what is shown."""

    __tablename__ = "choices_awaited"

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"), index=True)
    created_at: Mapped[Created]


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
        Index("ix_assignments_skipped", "annotator_id", "skipped_at", postgresql_where=text("state = 'skipped'")),
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
    skipped_at: Mapped[Time | None]
    """When it was skipped last; stays when the skip is undone. NULL in older rows."""
    created_at: Mapped[Created]

    comparison: Mapped[Comparison] = relationship(lazy="raise")
    annotator: Mapped[User] = relationship(lazy="raise")


class JudgementRead(Base):
    """A prompt of which somebody has read what another person said, or its known answer: they are given it no more."""

    __tablename__ = "judgements_read"

    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    read_at: Mapped[Created]
