"""What the pages of dialogues show: the way to the turn that is looked at, and what can be done there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates import live
from app.candidates.live_events import Snapshot
from app.candidates.live_pace import shown
from app.dialogues import queries
from app.dialogues.answers import problem_of
from app.dialogues.models import Dialogue, DialogueState, Kept
from app.dialogues.queries import Answer, OpenDialogues, Summary, Turn, TurnState
from app.kernel.errors import NotFound
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.kernel.markup import to_html
from app.prompts import guidelines
from app.prompts.models import Batch, BatchState

EXCERPT = 70
KEPT = {Kept.YES: N_("Yes, throughout"), Kept.PARTLY: N_("Partly"), Kept.NO: N_("No")}
FINISHED = {
    Kept.YES: N_("Finished; the system prompt was kept: yes, throughout."),
    Kept.PARTLY: N_("Finished; the system prompt was kept: partly."),
    Kept.NO: N_("Finished; the system prompt was kept: no."),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One turn on the way: the annotator's message, and the answer from which the dialogue went on."""

    turn: Turn
    excerpt: str
    """How the message begins, for one line."""
    html: Markup
    answer: Markup | None
    answer_is: str
    """What that answer is, as far as it was judged; nothing is called better after a tie."""
    branches: int
    """Turns that follow it; more than one where the dialogue goes on in several ways."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A turn in the tree: ``depth`` from 1."""

    turn: Turn
    excerpt: str
    on_path: bool


@dataclass(frozen=True, slots=True)
class Form:
    """The contents of the message field, and what is wrong with it."""

    text: str = ""
    answer: str = ""
    problem: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""
    note: str = ""


@dataclass(frozen=True)
class DialoguePage:
    """Context of ``dialogues/dialogue.html``."""

    dialogue: Dialogue
    mine: bool
    system: Markup | None
    opening: str | None
    guidelines: Markup
    guidelines_changed: tuple[int, int] | None
    way: Sequence[Said]
    last: Turn | None
    """The turn that is looked at; None before the first one."""
    tree: Sequence[Branch]
    replies: Sequence[Snapshot]
    problem: str | None
    """Why the answers that have come cannot be compared."""
    answers: Sequence[Answer]
    may_say: bool
    """Whether a message can be written here."""
    at_limit: bool
    may_finish: bool
    form: Form
    key: str
    kept: Mapping[Kept, str]
    finished: Mapping[Kept, str]
    """The same of a dialogue that is at its end, in a sentence."""


@dataclass(frozen=True)
class DialoguesPage:
    """Context of ``dialogues/dialogues.html``."""

    batches: Sequence[OpenDialogues]
    mine: Sequence[Summary]
    next: int | None
    first: bool


@dataclass(frozen=True)
class BatchPage:
    """Context of ``dialogues/batch.html``."""

    batch: Batch
    dialogues: Sequence[Summary]
    finished: int
    begun: int
    wanted: int
    kept: Mapping[Kept, str]
    next: int | None
    first: bool


@dataclass(frozen=True)
class NewPage:
    """Context of ``dialogues/new.html``; ``values`` as typed, so that nothing is typed twice."""

    values: Mapping[str, str]
    errors: Mapping[str, str]


def dialogue_page(
    session: Session, user: User, dialogue: Dialogue, turn_id: int | None = None, form: Form | None = None
) -> DialoguePage:
    """The dialogue as it stands at the turn ``turn_id``, else at the newest; 0 is before the first turn.

    Raises:
        NotFound: the turn is of another dialogue.
    """
    turns = queries.turns(session, dialogue)
    last = _looked_at(turns, turn_id)
    way = queries.path(turns, last.id if last else None)
    mine, seed, batch = dialogue.annotator_id == user.id, dialogue.seed, dialogue.batch
    replies = live.replies(session, last.id) if last and last.state is TurnState.WRITTEN else []
    depth = last.depth if last else 0
    goes_on = mine and dialogue.state is DialogueState.OPEN and batch.state is BatchState.OPEN
    begins = last is None and (seed.opening is None or not turns)
    return DialoguePage(
        dialogue=dialogue,
        mine=mine,
        system=None if seed.system is None else to_html(seed.system),
        opening=seed.opening,
        guidelines=to_html(batch.guidelines) if batch.guidelines.strip() else Markup(),
        guidelines_changed=guidelines.changed(session, user, batch.id),
        way=_way(turns, way, mine=mine),
        last=last,
        tree=_tree(turns, {each.id for each in way}),
        replies=_snapshots(session, last) if mine and last and last.state is TurnState.WRITING else [],
        problem=problem_of(replies) if replies else None,
        answers=last.answers if last else (),
        may_say=goes_on and depth < batch.max_turns and (begins or bool(last and last.answers)),
        at_limit=depth >= batch.max_turns,
        may_finish=mine and dialogue.state is DialogueState.OPEN and bool(turns),
        form=form or Form(),
        key=secrets.token_urlsafe(12),
        kept=kept_in_words(),
        finished={each: _(words) for each, words in FINISHED.items()},
    )


def kept_in_words() -> dict[Kept, str]:
    """How far the system prompt was kept, as it is asked and answered."""
    return {each: _(words) for each, words in KEPT.items()}


def _looked_at(turns: Sequence[Turn], turn_id: int | None) -> Turn | None:
    if turn_id is None:
        return turns[-1] if turns else None
    if turn_id == 0:
        return None
    found = next((each for each in turns if each.id == turn_id), None)
    if found is None:
        raise NotFound
    return found


def _snapshots(session: Session, turn: Turn) -> list[Snapshot]:
    return [shown(session, reply) for reply in live.replies(session, turn.id)]


def _way(turns: Sequence[Turn], way: Sequence[Turn], *, mine: bool) -> list[Said]:
    found = []
    for index, turn in enumerate(way):
        follows = way[index + 1].follows if index + 1 < len(way) else None
        answer = follows or (turn.answers[0].text if turn.answers else None)
        branches = sum(each.parent_id == turn.id for each in turns)
        html = None if answer is None else to_html(answer)
        found.append(Said(turn, _begins(turn.text), to_html(turn.text), html, _what_is(turn, answer, mine), branches))
    return found


def _what_is(turn: Turn, answer: str | None, mine: bool) -> str:  # noqa: FBT001 - only called above
    """What an answer is called: by what was said of it, which may have been corrected since the dialogue went on from it."""
    name = next((each.name for each in turn.answers if each.text == answer), None)
    if name == queries.EDITED:
        return _("Your edit of the better answer") if mine else _("Edited answer")
    if name is None:
        return _("The answer that the dialogue continued from")
    return _("Response {name}, as good as the other", name=name) if turn.is_tie else _("The better answer")


def _begins(text: str) -> str:
    return " ".join(text[: 4 * EXCERPT].split())[:EXCERPT]


def _tree(turns: Sequence[Turn], on_path: set[int]) -> list[Branch]:
    """Depth first, so that what follows a turn stands under it."""
    found: list[Branch] = []
    stack = [each for each in turns if each.parent_id is None][::-1]
    while stack:
        turn = stack.pop()
        found.append(Branch(turn, _begins(turn.text), turn.id in on_path))
        stack.extend([each for each in turns if each.parent_id == turn.id][::-1])
    return found
