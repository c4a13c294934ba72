"""What was computed of all votes: which policy is how strong, and how far people agree."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Json, Key, Time, enum_column

ALL = ""
"""As a capability: all of them, those without a name too."""
ALL_ROUNDS = 0


class BoardState(StrEnum):
    """``queued`` → ``ready`` | ``failed``. Whoever computes it holds its lock, so a killed worker leaves it queued."""

    QUEUED = "queued"
    READY = "ready"
    FAILED = "failed"


class Board(Base):
    """One computation, and how its numbers were obtained. At most one of a loop waits (a partial unique index)."""

    __tablename__ = "boards"
    __table_args__ = (
        Index("uq_boards_queued", "loop_id", unique=True, postgresql_where=text("state = 'queued'")),
        CheckConstraint("(state = 'ready') = (computed_at IS NOT NULL)", name="ready_says_when"),
        CheckConstraint("(state = 'failed') = (error IS NOT NULL)", name="failure_has_reason"),
    )

    id: Mapped[Key]
    loop_id: Mapped[int] = mapped_column(ForeignKey("loops.id"), server_default="1")
    state: Mapped[BoardState] = mapped_column(enum_column(BoardState, "state"), default=BoardState.QUEUED)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Who asked for it; None where enough new votes did."""
    created_at: Mapped[Created]
    computed_at: Mapped[Time | None]
    seconds: Mapped[float | None]
    last_annotation_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """The newest annotation that it has read."""
    last_retraction_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    last_review_id: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    votes: Mapped[int] = mapped_column(default=0, server_default="0")
    people: Mapped[int] = mapped_column(default=0, server_default="0")
    prompts: Mapped[int] = mapped_column(default=0, server_default="0")
    method: Mapped[str] = mapped_column(default="", server_default="")
    """In a sentence, with the versions that it depends on."""
    agreement: Mapped[Json] = mapped_column(JSONB, server_default=text("'{}'"), default=dict)
    """:class:`app.board.results.Agreement`."""
    error: Mapped[str | None]


class BoardSlice(Base):
    """The strengths by some of the votes: of one capability, one round, or settled items alone."""

    __tablename__ = "board_slices"

    board_id: Mapped[int] = mapped_column(ForeignKey("boards.id", ondelete="CASCADE"), primary_key=True)
    settled: Mapped[bool] = mapped_column(primary_key=True)
    """Only items that want no more judgements: what reviewers see, who may still be given the others."""
    capability: Mapped[str] = mapped_column(String(60), primary_key=True)
    round: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    votes: Mapped[int]
    result: Mapped[Json]
    """:class:`app.board.results.Strengths`."""
