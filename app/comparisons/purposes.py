"""Why comparisons exist: one entry a purpose says who may be given it, what follows a submit, and whether it trains.

What hands items out and what counts them ask the same function, :func:`fresh_for`: a number on a page is what a claim would
give. The page that annotators see shows no difference between purposes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from sqlalchemy import (
    ColumnElement,
    Integer,
    ScalarSelect,
    SQLColumnExpression,
    String,
    and_,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from app.accounts.models import User
from app.comparisons.given import gives, readers_only
from app.comparisons.models import KNOWN_ANSWER_IN_USE, Assignment, Comparison, Drawn, JudgementRead, Purpose
from app.comparisons.seats import ONE, ZERO, has_free_seat, written_out

UNKNOWN_LANGUAGE = literal_column("''", String)


class Asked(Enum):
    """What a claim asks for. An annotator is never told which it was."""

    WORK = auto()
    KNOWN_ANSWER = auto()


class Unfit(Enum):
    """Why a comparison is not for an annotator, whatever its batch gives them."""

    READ = auto()
    """They have read another's judgement of its prompt."""
    MEASURED = auto()
    """It measures them."""
    LANGUAGE = auto()
    """They do not read its language."""
    PURPOSE = auto()
    """They have met the same responses for a purpose that it is never met with, or it is not in use."""


class After(Enum):
    """What follows the submit of a judgement."""

    QUALIFY = auto()
    """Where its batch asks for a qualification, it may be decided by this answer."""
    VERIFY_EDIT = auto()
    """An edit may be drawn to be compared with its original by somebody else."""


@dataclass(frozen=True, slots=True)
class Entry:
    """All that is decided by the purpose of a comparison."""

    claimed_as: Asked
    words: str
    """What staff read; empty: nothing."""
    never_with: Purpose | None = None
    """Nobody who has met the prompt's comparison of this purpose is given it: the responses are the same."""
    in_use: ColumnElement[bool] | None = None
    """Which of them are given to anybody at all; None: every one."""
    met_by_all: bool = False
    """Whether everybody may meet it, so that its assignments are looked up by annotator and not by comparison."""
    after: tuple[After, ...] = ()
    trains: bool = False
    """Whether what is said of it is exported and trained on."""
    labels: bool = False
    """Whether what is said of it are labels of steps, which are exported by themselves."""
    compares: bool = False
    """Whether what is said of it prefers one response to another."""
    asked_again: bool = False
    """Whether staff may ask for one more judgement of it: a second opinion. Two answers that people wrote are none."""


PURPOSES: Mapping[Purpose, Entry] = MappingProxyType(
    {
        Purpose.COLLECT: Entry(
            Asked.WORK,
            "",
            never_with=Purpose.GOLD,
            after=(After.VERIFY_EDIT,),
            trains=True,
            compares=True,
            asked_again=True,
        ),
        Purpose.GOLD: Entry(
            Asked.KNOWN_ANSWER,
            "known answer",
            never_with=Purpose.COLLECT,
            in_use=KNOWN_ANSWER_IN_USE,
            met_by_all=True,
            after=(After.QUALIFY,),
        ),
        # those who judged the prompt may verify an edit of it, but for the one who wrote it
        Purpose.VERIFY_EDIT: Entry(Asked.WORK, "verifies an edit"),
        Purpose.WRITE: Entry(Asked.WORK, "", trains=True),
        Purpose.STEPS: Entry(Asked.WORK, "", labels=True, asked_again=True),
    }
)

trains = or_(*(Comparison.purpose == purpose for purpose, entry in PURPOSES.items() if entry.trains))
"""Whether what is said of a comparison is exported and trained on: preferences, and answers that people wrote."""
labels = or_(*(Comparison.purpose == purpose for purpose, entry in PURPOSES.items() if entry.labels))
"""Whether what is said of a comparison are labels of steps."""
is_asked_for = or_(trains, labels)
"""Whether its batch asks for it of its own accord: progress counts these, and neither known answers nor verifications."""
compares = or_(*(Comparison.purpose == purpose for purpose, entry in PURPOSES.items() if entry.compares))
"""Whether what is said of it prefers one response to another: answers that people wrote do not."""
votes = and_(compares, Comparison.drawn == Drawn.RANDOM)
"""Whether what is said of it counts in gate and board as well: its responses were drawn, not chosen to teach most."""

_reader = aliased(User, name="reader")
_twin = aliased(Comparison, name="twin")


def fresh_for(
    annotator: SQLColumnExpression[int], batch: SQLColumnExpression[int], asked: Asked = Asked.WORK
) -> list[ColumnElement[bool]]:
    """The conditions under which a comparison of ``batch`` has a seat for ``annotator``: the one place where this is decided.

    It has a free seat, the annotator has not met it, and it :func:`suits` them.
    """
    met_by_all = all(entry.met_by_all for entry in PURPOSES.values() if entry.claimed_as is asked)
    return [
        has_free_seat,
        _met(Comparison.id, annotator, of_few=not met_by_all).is_(None),
        *suits(annotator, batch, asked),
    ]


def suits(
    annotator: SQLColumnExpression[int], batch: SQLColumnExpression[int], *asked: Asked
) -> list[ColumnElement[bool]]:
    """The conditions under which ``annotator`` may judge a comparison of ``batch``, met or not.

    The batch :func:`gives` them items, and it :func:`fits` them.
    """
    return [gives(annotator, batch), *fits(annotator, batch, *asked).values()]


def fits(
    annotator: SQLColumnExpression[int], batch: SQLColumnExpression[int], *asked: Asked
) -> dict[Unfit, ColumnElement[bool]]:
    """The conditions on the comparison alone, by what is so where one does not hold."""
    read = (
        select(JudgementRead.prompt_id)
        .where(JudgementRead.prompt_id == Comparison.prompt_id, JudgementRead.user_id == annotator)
        .limit(ONE)
        .scalar_subquery()
    )
    return {
        Unfit.READ: read.is_(None),
        Unfit.MEASURED: or_(Comparison.not_for_id.is_(None), Comparison.not_for_id != annotator),
        Unfit.LANGUAGE: _reads(annotator, batch),
        Unfit.PURPOSE: or_(
            *(_may_have(annotator, purpose, entry) for purpose, entry in PURPOSES.items() if entry.claimed_as in asked)
        ),
    }


def _reads(annotator: SQLColumnExpression[int], batch: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether the annotator reads the language of a comparison, as far as either is known; looked up once a statement.

    Who has not said what they read is taken to read everything, unless the batch is for those who have said it.
    """
    languages = select(_reader.languages).where(_reader.id == annotator).limit(ONE).scalar_subquery()
    return or_(
        Comparison.language == UNKNOWN_LANGUAGE,
        and_(func.cardinality(languages) == ZERO, ~readers_only(batch)),
        func.array_position(languages, Comparison.language).is_not(None),
    )


def _may_have(annotator: SQLColumnExpression[int], purpose: Purpose, entry: Entry) -> ColumnElement[bool]:
    conditions = [Comparison.purpose == written_out(purpose)]
    if entry.in_use is not None:
        conditions.append(entry.in_use)
    if entry.never_with is not None:
        conditions.append(_met(_of_same_prompt(entry.never_with), annotator).is_(None))
    return and_(*conditions)


# Scalar subqueries with LIMIT instead of EXISTS or JOIN: the planner might reorder those and scan the annotator's whole
# history. `+ 0` stops it from using ix_assignments_annotator; the redundant ORDER BY steers it to
# uq_comparisons_one_per_purpose. Either way it reads at most one comparison's seats.
def _met(
    comparison_id: SQLColumnExpression[int], annotator: SQLColumnExpression[int], *, of_few: bool = True
) -> ScalarSelect[int]:
    """The annotator's assignment of a comparison, if any; ``of_few``: it has fewer of them than the annotator."""
    who = Assignment.annotator_id + ZERO if of_few else Assignment.annotator_id
    same = Assignment.comparison_id == comparison_id
    return select(Assignment.id).where(same, who == annotator).limit(ONE).scalar_subquery()


def _of_same_prompt(purpose: Purpose) -> ScalarSelect[int]:
    """The comparison of the same prompt for a purpose of which there is one a prompt."""
    return (
        select(_twin.id)
        .where(
            _twin.prompt_id == Comparison.prompt_id,
            _twin.purpose != written_out(Purpose.VERIFY_EDIT),
            func.concat(_twin.purpose) == written_out(purpose),
        )
        .order_by(_twin.prompt_id, _twin.purpose)
        .limit(ONE)
        .correlate(Comparison)
        .scalar_subquery()
    )


def count_fresh(
    batch_id: SQLColumnExpression[int], annotator: SQLColumnExpression[int], asked: Asked = Asked.WORK, *, up_to: int
) -> ScalarSelect[int]:
    """How many items of a batch claims would give to ``annotator``; counting stops at ``up_to``.

    ``batch_id`` and ``annotator`` may be columns of the statement around it.
    """
    fresh = select(Comparison.id).where(Comparison.batch_id == batch_id, *fresh_for(annotator, batch_id, asked))
    fresh = fresh.limit(literal_column(str(up_to), Integer))  # written out, as in the claim
    return select(func.count()).select_from(fresh.correlate_except(Comparison).subquery()).scalar_subquery()
