"""Reads. People reach only dialogues of their own; everybody else's look as if they did not exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, SQLColumnExpression, func, literal, select
from sqlalchemy.orm import Session, aliased, joinedload

from app.accounts.models import Role, User
from app.annotations.models import STANDING, Annotation
from app.annotations.queries import ELSEWHERE, Elsewhere
from app.annotations.recording import UNDO_SECONDS
from app.candidates import live
from app.candidates.models import Candidate, LiveGeneration, LiveKind
from app.comparisons import given, purposes
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.dialogues.models import Dialogue, DialogueSeed, DialogueState, Kept
from app.judgements.positions import ids_by_position
from app.judgements.vocabulary import Outcome
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.locales import ngettext
from app.kernel.markup import to_html
from app.kernel.paging import Order, Page, read_rows
from app.prompts.models import Batch, BatchKind, BatchState, Prompt

EDITED = "edited"
"""Names the improved text where a letter would name a response."""


class TurnState(StrEnum):
    """``writing`` → ``written`` → ``judging`` → ``judged`` or ``skipped``."""

    WRITING = "writing"
    WRITTEN = "written"
    JUDGING = "judging"
    JUDGED = "judged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Answer:
    """A text from which a dialogue can continue: the edit, or a response in first place by its letter."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as its annotator sees it. ``answers`` is empty until it is judged."""

    id: int
    number: int
    """By when it was written, from 1."""
    depth: int
    """How many messages of the annotator's lead to it, with its own."""
    parent_id: int | None
    follows: str | None
    """The answer to the turn before from which this one goes on."""
    text: str
    state: TurnState
    assignment_id: int | None
    answers: tuple[Answer, ...]
    just_judged: bool
    """Whether that can still be taken back."""

    @property
    def is_tie(self) -> bool:
        """Whether several responses stand first, so that none of them is the better one."""
        return sum(each.name != EDITED for each in self.answers) > 1


@dataclass(frozen=True, slots=True)
class OpenDialogues:
    """A dialogue batch as one annotator sees it."""

    id: int
    name: str
    state: BatchState
    guidelines: str
    begun: int | None
    """Their open dialogue."""
    free: int
    deadline: datetime | None
    overdue: bool

    @property
    def excerpt(self) -> str:
        """How the guidelines begin, without their markup."""
        return to_html(self.guidelines).striptags()


@dataclass(frozen=True, slots=True)
class Summary:
    """A dialogue in a list."""

    id: int
    batch: str
    state: DialogueState
    begins: str
    turns: int
    created_at: datetime
    annotator: str
    system_kept: Kept | None


def access(session: Session, user: User, dialogue_id: int) -> Dialogue:
    """A dialogue with its batch and seed: the annotator's own, or any for reviewers and admins to read."""
    dialogue = session.get(
        Dialogue,
        dialogue_id,
        options=[joinedload(Dialogue.batch), joinedload(Dialogue.seed), joinedload(Dialogue.annotator)],
        populate_existing=True,
    )
    if dialogue is None or (dialogue.annotator_id != user.id and user.role is Role.ANNOTATOR):
        raise NotFound
    return dialogue


def free_seeds(user: User) -> Select[DialogueSeed]:
    """Seeds from which ``user`` can begin."""
    return select(DialogueSeed).where(*_free(user))


def _free(user: User) -> list[ColumnElement[bool]]:
    met = select(Dialogue.id).where(Dialogue.seed_id == DialogueSeed.id, Dialogue.annotator_id == user.id)
    return [DialogueSeed.seats_free > 0, ~met.exists(), *_given(user, DialogueSeed.batch_id)]


def _given(user: User, batch: SQLColumnExpression[int]) -> list[ColumnElement[bool]]:
    """Whether a batch gives ``user`` new dialogues; its quota counts those that they began."""
    annotator = literal(user.id, BigInteger)
    had = aliased(Dialogue, name="had_dialogue")
    begun = select(func.count()).where(had.batch_id == batch, had.annotator_id == annotator).correlate_except(had)
    return [given.assigned_to(annotator, batch), given.within_quota(annotator, batch, begun.scalar_subquery())]


def turn(session: Session, dialogue: Dialogue, turn_id: int) -> Prompt:
    """A turn of ``dialogue``."""
    found = session.get(Prompt, turn_id)
    if found is None or found.dialogue_id != dialogue.id:
        raise NotFound
    return found


def count_turns(session: Session, dialogue: Dialogue) -> int:
    """Turns so far, on all branches."""
    return session.scalar(select(func.count()).where(Prompt.dialogue_id == dialogue.id)) or 0


def generations(session: Session, turn_ids: Sequence[int]) -> dict[int, list[int]]:
    """The newest answer of each slot by its id, left to right, of each turn."""
    newest = (
        select(LiveGeneration.prompt_id, func.max(LiveGeneration.id))
        .where(LiveGeneration.prompt_id.in_(turn_ids), LiveGeneration.kind == LiveKind.REPLY)
        .group_by(LiveGeneration.prompt_id, LiveGeneration.slot)
        .order_by(LiveGeneration.prompt_id, LiveGeneration.slot)
    )
    found: dict[int, list[int]] = {}
    for turn_id, generation_id in session.execute(newest):
        if turn_id is not None:  # the filter's word, for the type checker
            found.setdefault(turn_id, []).append(generation_id)
    return found


def assignment_of(session: Session, user: User, turn_id: int) -> Assignment | None:
    """Where ``user`` judges the answers to a turn."""
    return session.scalars(
        select(Assignment)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .where(Comparison.prompt_id == turn_id, purposes.trains, Assignment.annotator_id == user.id)
    ).one_or_none()


def answers(session: Session, turn: Prompt) -> list[Answer]:
    """The answers to a judged turn from which its dialogue can continue; the first is the default."""
    said = session.scalars(_standing().where(Comparison.prompt_id == turn.id)).one_or_none()
    return list(_answers(said, _texts(session, said.order_shown))) if said else []


def turns(session: Session, dialogue: Dialogue) -> list[Turn]:
    """All turns of ``dialogue``, oldest first."""
    prompts = session.scalars(select(Prompt).where(Prompt.dialogue_id == dialogue.id).order_by(Prompt.id)).all()
    ids = [each.id for each in prompts]
    recent = Annotation.created_at > func.now() - timedelta(seconds=UNDO_SECONDS)
    standing = session.execute(_standing(Comparison.prompt_id, recent).where(Comparison.prompt_id.in_(ids)))
    judged = {prompt_id: (said, just) for prompt_id, just, said in standing}
    texts = _texts(session, [shown for said, _ in judged.values() for shown in said.order_shown])
    held = {
        row[0]: (row[1], row[2])
        for row in session.execute(
            select(Comparison.prompt_id, Assignment.id, Assignment.state)
            .join(Assignment, Assignment.comparison_id == Comparison.id)
            .where(
                Comparison.prompt_id.in_(ids),
                purposes.trains,
                Assignment.annotator_id == dialogue.annotator_id,
            )
        )
    }
    writing = set(
        session.scalars(
            select(LiveGeneration.prompt_id).where(
                LiveGeneration.prompt_id.in_(ids),
                LiveGeneration.kind == LiveKind.REPLY,
                LiveGeneration.state.in_(live.OPEN),
            )
        )
    )
    found = []
    for number, each in enumerate(prompts, 1):
        assignment_id, state = held.get(each.id, (None, None))
        said, just_judged = judged.get(each.id, (None, False))
        found.append(
            Turn(
                id=each.id,
                number=number,
                depth=sum(message["role"] == "user" for message in each.messages),
                parent_id=each.parent_id,
                follows=each.messages[-2]["content"] if each.parent_id else None,
                text=each.messages[-1]["content"],
                state=_state(state, each.id in writing),
                assignment_id=assignment_id,
                answers=_answers(said, texts) if said else (),
                just_judged=just_judged,
            )
        )
    return found


def _state(assignment: AssignmentState | None, writing: bool) -> TurnState:  # noqa: FBT001 - only called above
    if assignment is AssignmentState.SUBMITTED:
        return TurnState.JUDGED
    if assignment is AssignmentState.SKIPPED:
        return TurnState.SKIPPED
    if assignment is not None:
        return TurnState.JUDGING
    return TurnState.WRITING if writing else TurnState.WRITTEN


def _standing(*columns: Any) -> Select[Any]:
    return (
        select(*columns, Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .where(STANDING, purposes.trains)
    )


def _texts(session: Session, candidate_ids: Sequence[int]) -> dict[int, str]:
    rows = session.execute(select(Candidate.id, Candidate.text).where(Candidate.id.in_(candidate_ids)))
    return {row[0]: row[1] for row in rows}


def _answers(said: Annotation, texts: Mapping[int, str]) -> tuple[Answer, ...]:
    """The edit first, then what stands in first place; nothing where all were unacceptable."""
    if said.outcome is Outcome.ALL_UNACCEPTABLE:
        return ()
    edited = [Answer(EDITED, said.edited_text)] if said.edited_text is not None else []
    best = [(name, each) for name, each in ids_by_position(said.order_shown).items() if each in said.ranking[0]]
    return (*edited, *(Answer(name, texts[each]) for name, each in best))


def path(turns: Sequence[Turn], last: int | None) -> list[Turn]:
    """The turns that lead to ``last``, with it, from the first."""
    by_id = {each.id: each for each in turns}
    found: list[Turn] = []
    while last is not None:
        found.append(by_id[last])
        last = found[-1].parent_id
    return found[::-1]


def open_batches(session: Session, user: User) -> list[OpenDialogues]:
    """Open and paused batches of dialogues in which ``user`` has something to continue or start, the most urgent first."""
    begun = (
        select(func.min(Dialogue.id))
        .where(
            Dialogue.batch_id == Batch.id,
            Dialogue.annotator_id == user.id,
            Dialogue.state == DialogueState.OPEN,
        )
        .correlate(Batch)
        .scalar_subquery()
    )
    free = (
        select(func.count())
        .select_from(DialogueSeed)
        .where(DialogueSeed.batch_id == Batch.id, *_free(user))
        .correlate(Batch)
        .scalar_subquery()
    )
    due = Batch.deadline, given.OVERDUE
    rows = session.execute(
        select(Batch.id, Batch.name, Batch.state, func.left(Batch.guidelines, 600), begun, free, *due)
        .where(Batch.kind == BatchKind.DIALOGUE, Batch.state.in_([BatchState.OPEN, BatchState.PAUSED]))
        .order_by(*given.URGENCY)
    )
    return [each for each in (OpenDialogues(*row) for row in rows) if each.begun or each.free]


def waiting(session: Session, user: User) -> list[Elsewhere]:
    """The same as work that waits, without what is paused."""
    return [
        Elsewhere(f"/dialogues/{each.begun}", None, each.name, _("A dialogue in progress"))
        if each.begun
        else Elsewhere("/dialogues", each.id, each.name, ngettext("{n} to begin", "{n} to begin", each.free))
        for each in open_batches(session, user)
        if each.state is BatchState.OPEN
    ]


ELSEWHERE.append(waiting)


def mine(session: Session, user: User, *, before: int | None = None, limit: int = 50) -> Page[Summary]:
    """Somebody's dialogues, newest first."""
    return _summaries(session, Dialogue.annotator_id == user.id, before, limit)


def of_batch(session: Session, batch: Batch, *, before: int | None = None, limit: int = 50) -> Page[Summary]:
    """Everybody's dialogues of a batch, newest first."""
    return _summaries(session, Dialogue.batch_id == batch.id, before, limit)


def progress(session: Session, batch: Batch) -> tuple[int, int, int]:
    """Dialogues of a batch: finished, started, wanted."""
    begun = select(func.count(Dialogue.finished_at), func.count()).where(Dialogue.batch_id == batch.id)
    finished, all_begun = session.execute(begun).one()
    wanted = session.scalar(select(func.sum(DialogueSeed.dialogues_wanted)).where(DialogueSeed.batch_id == batch.id))
    return finished, all_begun, wanted or 0


def _summaries(session: Session, which: ColumnElement[bool], before: int | None, limit: int) -> Page[Summary]:
    count = (
        select(func.count()).select_from(Prompt).where(Prompt.dialogue_id == Dialogue.id).correlate(Dialogue)
    ).scalar_subquery()
    first = (
        select(Prompt.messages[-1]["content"].astext)
        .where(Prompt.dialogue_id == Dialogue.id)
        .order_by(Prompt.id)
        .limit(1)
        .correlate(Dialogue)
        .scalar_subquery()
    )
    query = (
        select(
            Dialogue.id,
            Batch.name,
            Dialogue.state,
            func.left(func.coalesce(first, DialogueSeed.opening, DialogueSeed.system, ""), 200),
            count,
            Dialogue.created_at,
            User.name,
            Dialogue.system_kept,
        )
        .join(User, User.id == Dialogue.annotator_id)
        .join(Batch, Batch.id == Dialogue.batch_id)
        .join(DialogueSeed, DialogueSeed.id == Dialogue.seed_id)
        .where(which)
    )
    return read_rows(session, query, Order(Dialogue.id), before, limit).map(lambda row: Summary(*row))
