"""Reads of the board, and of the votes behind its numbers; loaders check the caller.

Reviewers judge as well, so they see the numbers of settled items alone; admins see all numbers. The items themselves are shown to
both only once they are settled, and whoever has seen one is not given its prompt any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from app.accounts.access import STAFF
from app.accounts.models import Role, User
from app.annotations.models import COUNTS, Annotation, Retraction, Review
from app.annotations.queues import BEGINNING
from app.board.models import ALL, ALL_ROUNDS, Board, BoardSlice, BoardState
from app.board.results import Strengths
from app.board.settled import COUNTED, SETTLED
from app.candidates.models import Candidate
from app.candidates.traces import Step, steps_of
from app.comparisons import purposes
from app.comparisons.claims import in_work, mark_read
from app.comparisons.models import Comparison, ComparisonCandidate
from app.judgements.positions import position
from app.judgements.words import in_words
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_rows
from app.loops.models import FIRST_LOOP, Round
from app.prompts.models import Batch, Prompt
from app.registry.models import Appointment, Checkpoint, LoopRole
from training.formats.votes import votes

PAGE = 20
NEW_COUNTED = 10_000
"""Of what is new; more is said as "more than"."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which votes: of one capability, of one round, of two policies."""

    capability: str = ALL
    round: int = ALL_ROUNDS
    one: int | None = None
    other: int | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """One filter that there are numbers for."""

    capability: str
    round: int
    votes: int


# ── Boards ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def latest(session: Session, user: User) -> Board | None:
    """The last board that is ready, for reviewers and admins."""
    if user.role not in STAFF:
        raise NotFound
    return _newest(session, Board.state == BoardState.READY)


def last_ended(session: Session) -> Board | None:
    """The last board that is ready or failed."""
    return _newest(session, Board.state != BoardState.QUEUED)


def waiting(session: Session) -> Board | None:
    """The board that is being computed, or waits for it."""
    return _newest(session, Board.state == BoardState.QUEUED)


def _newest(session: Session, condition: ColumnElement[bool]) -> Board | None:
    query = select(Board).where(Board.loop_id == FIRST_LOOP, condition).order_by(Board.id.desc()).limit(1)
    return session.scalar(query.execution_options(populate_existing=True))


def new_since(session: Session, board: Board) -> int:
    """Annotations, reviews and retractions since ``board`` was computed; at most ``NEW_COUNTED`` of each."""

    def newer(column: InstrumentedAttribute[int], last: int) -> int:
        some = select(column).where(column > last).limit(NEW_COUNTED).subquery()
        return session.scalar(select(func.count()).select_from(some)) or 0

    return (
        newer(Annotation.id, board.last_annotation_id)
        + newer(Review.id, board.last_review_id)
        + newer(Retraction.id, board.last_retraction_id)
    )


def slices(session: Session, user: User, board: Board) -> list[Slice]:
    """The filters that there are numbers for; which need not be every pair of a capability and a round."""
    query = select(BoardSlice.capability, BoardSlice.round, BoardSlice.votes).where(
        BoardSlice.board_id == board.id, BoardSlice.settled == _settled_alone(user), BoardSlice.votes > 0
    )
    return [Slice(*row) for row in session.execute(query.order_by(BoardSlice.capability, BoardSlice.round))]


def strengths(session: Session, user: User, board: Board, wanted: Wanted) -> Strengths | None:
    """The numbers by the votes that ``wanted`` keeps, as far as ``user`` may see them; None where they are too few."""
    key = (board.id, _settled_alone(user), wanted.capability, wanted.round)
    found = session.get(BoardSlice, key)
    return Strengths.model_validate(found.result) if found else None


def _settled_alone(user: User) -> bool:
    return user.role is not Role.ADMIN


def roles(session: Session) -> dict[int, LoopRole]:
    """What each appointed checkpoint is to the loop; of the champion that is also the base: champion."""
    query = select(Appointment.checkpoint_id, Appointment.role).where(Appointment.loop_id == FIRST_LOOP)
    ranked = (LoopRole.PREVIOUS, LoopRole.BASE, LoopRole.CHALLENGER, LoopRole.CHAMPION)
    return dict(sorted(((each, role) for each, role in session.execute(query)), key=lambda row: ranked.index(row[1])))


def access_policy(session: Session, user: User, checkpoint_id: int) -> Checkpoint:
    """A checkpoint, for reviewers and admins."""
    found = session.get(Checkpoint, checkpoint_id) if user.role in STAFF else None
    if found is None:
        raise NotFound
    return found


# ── The votes behind a number ────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Shown:
    """One response of an item and who wrote it."""

    letter: str
    checkpoint_id: int
    checkpoint: str
    text: str
    tokens: int
    steps: Sequence[Step] = ()


@dataclass(frozen=True, slots=True)
class Voted:
    """What one person said of an item."""

    annotation_id: int
    annotator: str
    words: str
    score: float
    """Mean of the votes between the policies asked for, for the first; or for the only one."""


@dataclass(frozen=True, slots=True)
class Item:
    """A settled item: the responses of the policies asked for, and who judged how."""

    id: int
    prompt_id: int
    prompt: str
    batch: str
    capability: str | None
    round: int
    responses: list[Shown] = field(default_factory=list)
    votes: list[Voted] = field(default_factory=list)


_capability = func.coalesce(Prompt.capability, Batch.capability)


def items(session: Session, user: User, wanted: Wanted, *, before: int | None = None, limit: int = PAGE) -> Page[Item]:
    """Settled items on which ``wanted.one`` met ``wanted.other``, or any other policy, newest first. Shown is read.

    Raises:
        NotFound: no such policy, or not for this user.
    """
    if wanted.one is None:
        raise NotFound
    for each in (wanted.one, wanted.other):
        if each is not None:
            access_policy(session, user, each)
    query = select(
        Comparison.id,
        Prompt.id,
        func.left(Prompt.messages[-1]["content"].astext, BEGINNING),
        Batch.name,
        _capability,
        Round.number,
    ).where(_met(wanted.one, wanted.other), _was_voted_on(), Comparison.prompt_id.not_in(in_work(user.id)))
    page = read_rows(session, _kept(query, wanted), Order(Comparison.id), before, limit).map(lambda row: Item(*row))
    _fill(session, page.rows, wanted)
    mark_read(session, user.id, [item.prompt_id for item in page.rows])
    return page


def _kept(query: Select[Any], wanted: Wanted) -> Select[Any]:
    query = (
        query.select_from(Comparison)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Comparison.batch_id)
        .join(Round, Round.id == Batch.round_id)
        .where(purposes.votes, SETTLED)
        .where(Round.loop_id == FIRST_LOOP)
    )
    if wanted.capability != ALL:
        query = query.where(_capability == wanted.capability)
    return query.where(Round.number == wanted.round) if wanted.round != ALL_ROUNDS else query


def _met(one: int, other: int | None) -> ColumnElement[bool]:
    mine, theirs = (
        (aliased(ComparisonCandidate), aliased(Candidate)),
        (aliased(ComparisonCandidate), aliased(Candidate)),
    )

    def shows(at: tuple[Any, Any], condition: Any) -> ColumnElement[bool]:
        link, wrote = at
        return (
            exists()
            .where(link.comparison_id == Comparison.id, wrote.id == link.candidate_id, condition)
            .correlate(Comparison)
        )

    against = theirs[1].checkpoint_id != one if other is None else theirs[1].checkpoint_id == other
    return and_(shows(mine, mine[1].checkpoint_id == one), shows(theirs, against))


def _was_voted_on() -> ColumnElement[bool]:
    return exists().where(Annotation.comparison_id == Comparison.id, COUNTS).correlate(Comparison)


def _fill(session: Session, page: Sequence[Item], wanted: Wanted) -> None:
    """Put responses and votes into the items of a page."""
    by_id = {item.id: item for item in page}
    query = (
        select(ComparisonCandidate.comparison_id, Candidate.id, Checkpoint.id, Checkpoint.name, Candidate.text)
        .add_columns(Candidate.completion_tokens, Candidate.steps)
        .join(Candidate, Candidate.id == ComparisonCandidate.candidate_id)
        .join(Checkpoint, Checkpoint.id == Candidate.checkpoint_id)
        .where(ComparisonCandidate.comparison_id.in_(by_id))
        .order_by(ComparisonCandidate.comparison_id, Candidate.id)
    )
    wrote: dict[int, int] = {}
    order: dict[int, list[int]] = {each: [] for each in by_id}
    for comparison_id, candidate_id, checkpoint_id, name, text, tokens, steps in session.execute(query):
        order[comparison_id].append(candidate_id)
        wrote[candidate_id] = checkpoint_id
        letter = position(len(order[comparison_id]) - 1)
        by_id[comparison_id].responses.append(Shown(letter, checkpoint_id, name, text, tokens, steps_of(steps)))
    said = (
        select(Annotation, User.pseudonym)
        .join(User, User.id == Annotation.annotator_id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(Annotation.comparison_id.in_(by_id), COUNTED)
        .order_by(Annotation.id)
    )
    for annotation, pseudonym in session.execute(said):
        shown = order[annotation.comparison_id]
        scores = _scores(annotation, wrote, wanted)
        if scores:
            words = in_words(annotation.outcome, annotation.ranking, shown)
            mean = sum(scores) / len(scores)
            by_id[annotation.comparison_id].votes.append(Voted(annotation.id, pseudonym, words, mean))


def _scores(annotation: Annotation, wrote: dict[int, int], wanted: Wanted) -> list[float]:
    """The votes for ``wanted.one`` in an annotation."""
    found = []
    for vote in votes(annotation.outcome, annotation.ranking, annotation.strengths, annotation.order_shown):
        one, other = wrote[vote.one], wrote[vote.other]
        for mine, theirs, score in ((one, other, vote.score), (other, one, 1 - vote.score)):
            if mine == wanted.one and mine != theirs and wanted.other in {None, theirs}:
                found.append(score)
    return found
