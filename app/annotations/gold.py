"""Known answers: who may work on a batch, and how well people see what is plain. Nothing here commits.

A comparison with a known answer has the prompt and the responses of one that was judged, and looks the same. Two things are
done with it: the first few of a batch are its qualification, where each answer is explained; later ones are mixed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import SystemRandom
from typing import Any, NamedTuple, Protocol

from markupsafe import Markup
from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, func, literal, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.annotations.models import Annotation, GoldAnswer, Qualification
from app.comparisons import seats
from app.comparisons.models import Comparison, Purpose
from app.comparisons.purposes import Asked, count_fresh
from app.judgements.vocabulary import Outcome
from app.judgements.words import best_in_words
from app.kernel.markup import to_html
from app.prompts.models import Batch


class State(StrEnum):
    """The state of a person's qualification for a batch."""

    NONE = "none"
    ANSWERING = "answering"
    PASSED = "passed"
    FAILED = "failed"
    NOT_READY = "not_ready"
    """There are too few known answers for this person."""


class Asking(Protocol):
    """What a batch asks for: a row of it, or what a claim reads of it."""

    @property
    def id(self) -> Any:
        """The batch."""

    @property
    def qualification_items(self) -> Any:
        """How many known answers come first."""

    @property
    def qualification_percent(self) -> Any:
        """How many of them have to be met, in per cent."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A person's progress through a qualification."""

    state: State
    needed: int = 0
    answered: int = 0
    correct: int = 0


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is said of an answer of the qualification, before the next item. Responses are known by position."""

    batch_name: str
    right: bool
    said: str
    known: str
    explanation: Markup
    standing: Standing


class Answer(NamedTuple):
    """Somebody's first answer to an item with a known one."""

    annotation_id: int
    right: bool


def is_right(outcome: Outcome, ranking: Sequence[Sequence[int]], known: Outcome, best: int | None) -> bool:
    """Whether a judgement is the known answer: the same outcome and, in a ranking, the same response alone in first place."""
    return outcome == known and (known != Outcome.RANKED or list(ranking[0]) == [best])


def passes(correct: int, needed: int, percent: int) -> bool:
    """Whether so many right answers are enough."""
    return correct * 100 >= percent * needed


def is_due(percent: int) -> bool:
    """Whether the next item shall be one with a known answer: drawn for each claim, so that nobody can count."""
    return percent > 0 and SystemRandom().randrange(100) < percent


def standing(session: Session, user_id: int, batch: Asking) -> Standing:
    """Where ``user_id`` stands with the qualification of ``batch``."""
    needed = int(batch.qualification_items)
    if not needed:
        return Standing(State.NONE)
    row = session.get(Qualification, (batch.id, user_id), populate_existing=True)
    if row is not None and row.answered:
        return Standing(State.PASSED if row.passed else State.FAILED, row.answered, row.answered, row.correct)
    answers = _answers(session, user_id, batch.id, row.after_annotation_id if row else 0)[:needed]
    correct = sum(answer.right for answer in answers)
    if len(answers) >= needed:
        passed = passes(correct, needed, batch.qualification_percent)
        return Standing(State.PASSED if passed else State.FAILED, needed, needed, correct)
    left = session.scalar(select(available(literal(batch.id, BigInteger), literal(user_id, BigInteger), up_to=needed)))
    enough = len(answers) + (left or 0) >= needed
    return Standing(State.ANSWERING if enough else State.NOT_READY, needed, len(answers), correct)


def decide(session: Session, user_id: int, batch: Asking) -> Standing:
    """The standing, written down once every item is answered: later changes of the batch do not undo it."""
    found = standing(session, user_id, batch)
    if found.state in {State.PASSED, State.FAILED}:
        values = {"answered": found.answered, "correct": found.correct, "passed": found.state is State.PASSED}
        session.execute(
            insert(Qualification)
            .values(batch_id=batch.id, user_id=user_id, **values)
            .on_conflict_do_update(
                index_elements=["batch_id", "user_id"],
                set_=values | {"decided_at": func.now()},
                where=Qualification.answered == 0,
            )
        )
    return found


def after(session: Session, user_id: int, comparison_id: int) -> None:
    """Decide the qualification when ``user_id`` has just answered its last item."""
    batch = session.scalars(
        select(Batch).join(Comparison, Comparison.batch_id == Batch.id).where(Comparison.id == comparison_id)
    ).one()
    decide(session, user_id, batch)


def feedback(session: Session, annotation_id: int, user_id: int | None = None) -> Feedback | None:
    """What to say of an answer of the qualification; ``None`` for everything else, also for what is mixed in.

    The first answer counts: the known one was shown after it, so it can be corrected, but not for the better.
    With ``user_id`` only an answer of that person is explained.
    """
    found = session.execute(
        select(Annotation, GoldAnswer, Batch)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(GoldAnswer, GoldAnswer.comparison_id == Comparison.id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .where(Annotation.id == annotation_id, Batch.qualification_items > 0)
        .where(true() if user_id is None else Annotation.annotator_id == user_id)
    ).one_or_none()
    if found is None:
        return None
    said, known, batch = found
    row = session.get(Qualification, (batch.id, said.annotator_id), populate_existing=True)
    first = row.answered if row and row.answered else batch.qualification_items
    counted = _answers(session, said.annotator_id, batch.id, row.after_annotation_id if row else 0)[:first]
    if said.id not in {answer.annotation_id for answer in counted}:
        return None
    return Feedback(
        batch_name=batch.name,
        right=is_right(said.outcome, said.ranking, known.outcome, known.best_candidate_id),
        said=best_in_words(said.outcome, said.ranking[0], said.order_shown),
        known=best_in_words(known.outcome, [known.best_candidate_id or 0], said.order_shown),
        explanation=to_html(known.explanation),
        standing=_as_of(standing(session, said.annotator_id, batch), counted, said.id),
    )


def _as_of(now: Standing, counted: list[Answer], annotation_id: int) -> Standing:
    """Count up to this answer, so that the text stays true when the page is shown again."""
    until = [answer for answer in counted if answer.annotation_id <= annotation_id]
    return Standing(now.state, now.needed, len(until), sum(answer.right for answer in until))


def _answers(session: Session, user_id: int, batch_id: int, after_id: int) -> list[Answer]:
    """The first answer to each item with a known one, in the order in which they were given."""
    rows = session.execute(
        select(
            Annotation.id,
            Annotation.assignment_id,
            Annotation.outcome,
            Annotation.ranking,
            GoldAnswer.outcome,
            GoldAnswer.best_candidate_id,
        )
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(GoldAnswer, GoldAnswer.comparison_id == Comparison.id)
        .where(
            Annotation.annotator_id == user_id,
            Comparison.batch_id == batch_id,
            Comparison.purpose == Purpose.GOLD,
        )
        .order_by(Annotation.id)
    )
    first: dict[int, Answer] = {}
    for annotation_id, assignment_id, outcome, ranking, known, best in rows:
        first.setdefault(assignment_id, Answer(annotation_id, is_right(outcome, ranking, known, best)))
    return [answer for answer in first.values() if answer.annotation_id > after_id]


def available(
    batch_id: SQLColumnExpression[int], user_id: SQLColumnExpression[int], *, up_to: int
) -> ColumnElement[int]:
    """How many known answers of a batch could still be asked of somebody: ``up_to`` fresh ones, and those in work."""
    fresh = count_fresh(batch_id, user_id, Asked.KNOWN_ANSWER, up_to=up_to)
    return fresh + seats.begun(batch_id, user_id, Purpose.GOLD)
