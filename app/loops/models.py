"""Loops and their rounds. Low in the house, so that a batch points down to its round."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.db import Base, Created, Key, Time, enum_column
from app.kernel.locales import N_
from app.kernel.locales import gettext as _

FIRST_LOOP = 1
"""The loop that every installation has."""


class Loop(Base):
    """One base model with its rounds. There is one loop, and what it is set to are the settings of the installation."""

    __tablename__ = "loops"

    id: Mapped[int] = mapped_column(BigInteger, Identity(start=FIRST_LOOP + 1), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    created_at: Mapped[Created]


class RoundState(StrEnum):
    """``collecting`` → ``training`` → ``checking`` → ``challenging`` → ``complete``.

    A failed or cancelled training goes back to ``collecting``. A round that challenges leaves the collecting to the next
    one, whose comparisons are its contest.
    """

    COLLECTING = "collecting"
    TRAINING = "training"
    CHECKING = "checking"
    """The new policy is measured against the champion, before people see it."""
    CHALLENGING = "challenging"
    """People compare the new policy with the champion, blind."""
    COMPLETE = "complete"

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_STATES[self])


_STATES = {
    RoundState.COLLECTING: N_("collecting"),
    RoundState.TRAINING: N_("training"),
    RoundState.CHECKING: N_("checking"),
    RoundState.CHALLENGING: N_("in contest"),
    RoundState.COMPLETE: N_("complete"),
}


class Verdict(StrEnum):
    """How a round ended: whether its policy became the champion."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    INCONCLUSIVE = "inconclusive"
    """The contest spent its budget without showing that one is better."""
    WITHDRAWN = "withdrawn"
    """An admin ended the contest."""
    OVERRIDDEN = "overridden"
    """An admin promoted the policy against the gate, with a reason."""

    @property
    def label(self) -> str:
        """What pages call it."""
        return _(_OUTCOMES[self])

    @property
    def words(self) -> str:
        """What it means for the policy."""
        return _(_VERDICTS[self])

    @property
    def promotes(self) -> bool:
        """Whether the policy became the champion."""
        return self in {Verdict.PROMOTED, Verdict.OVERRIDDEN}


_OUTCOMES = {
    Verdict.PROMOTED: N_("promoted"),
    Verdict.REFUSED: N_("refused"),
    Verdict.INCONCLUSIVE: N_("inconclusive"),
    Verdict.WITHDRAWN: N_("withdrawn"),
    Verdict.OVERRIDDEN: N_("promoted by override"),
}
_VERDICTS = {
    Verdict.PROMOTED: N_("The new policy became the champion."),
    Verdict.REFUSED: N_("The champion stays: the new policy is not better by enough, or is worse."),
    Verdict.INCONCLUSIVE: N_("The champion stays: the contest ended before it showed that the new policy is better."),
    Verdict.WITHDRAWN: N_("The champion stays: an admin ended the contest."),
    Verdict.OVERRIDDEN: N_("An admin made the new policy the champion, against the gate."),
}


class Round(Base):
    """Groups batches and checkpoints. One round is current, and before it at most one challenges (partial unique indexes)."""

    __tablename__ = "rounds"
    __table_args__ = (
        Index(
            "uq_rounds_current",
            text("(true)"),
            unique=True,
            postgresql_where=text("state NOT IN ('complete', 'challenging')"),
        ),
        Index("uq_rounds_challenging", text("(true)"), unique=True, postgresql_where=text("state = 'challenging'")),
        CheckConstraint("verdict IS NULL OR state = 'complete'", name="verdict_of_a_complete_round"),
        CheckConstraint("verdict <> 'overridden' OR verdict_reason <> ''", name="override_says_why"),
    )

    id: Mapped[Key]
    loop_id: Mapped[int] = mapped_column(ForeignKey("loops.id"), server_default=str(FIRST_LOOP))
    """The first one unless said otherwise: a process of an earlier release, which knows of none, still opens rounds."""
    number: Mapped[int] = mapped_column(unique=True)
    state: Mapped[RoundState] = mapped_column(enum_column(RoundState, "state"), default=RoundState.COLLECTING)
    created_at: Mapped[Created]
    completed_at: Mapped[Time | None]
    verdict: Mapped[Verdict | None] = mapped_column(enum_column(Verdict, "verdict"))
    """None while it is not complete, and of rounds that ended before verdicts existed."""
    verdict_reason: Mapped[str] = mapped_column(default="", server_default="")
