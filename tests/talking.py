"""Dialogues and trials for tests: begun, asked, answered as a worker would, and judged."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.candidates.models import LiveGeneration, LiveState
from app.comparisons.models import Assignment
from app.dialogues import service as dialogues
from app.dialogues.forms import DialogueSettings, Message, Seed
from app.dialogues.models import Dialogue
from app.judgements.vocabulary import Outcome
from app.playground import service as playground
from app.playground.forms import Ask
from app.playground.models import Trial
from app.prompts.models import Batch, BatchState, Prompt
from app.registry.models import LoadState
from tests.factories import current_round, make_deployment, make_user


def make_dialogue_batch(
    session: Session, *seeds: Seed, max_turns: int = 8, state: BatchState = BatchState.OPEN, name: str | None = None
) -> Batch:
    """A batch of dialogues; without ``seeds`` three that begin with nothing."""
    bob = make_user(session, Role.ADMIN, "Bob")
    current_round(session)
    settings = DialogueSettings(
        name=name or f"dialogues {secrets.token_hex(4)}",
        guidelines="Ask what you would *really* ask.",
        seeds=list(seeds) or [Seed(dialogues=3)],
        max_turns=max_turns,
    )
    batch = dialogues.create(session, bob, settings)
    batch.state = state
    session.commit()
    return batch


def begin_dialogue(session: Session, user: User, batch: Batch | None = None) -> Dialogue:
    """``user``'s dialogue in ``batch``, with two policies that could answer."""
    for checkpoint, label in (("zebra-base", "focused"), ("okapi-policy", "varied")):
        make_deployment(session, checkpoint, label).load_state = LoadState.LOADED
    dialogue = dialogues.begin(session, user, (batch or make_dialogue_batch(session)).id)
    session.commit()
    return dialogue


def say(
    session: Session, user: User, dialogue: Dialogue, text: str, after: Prompt | None = None, **more: Any
) -> Prompt:
    """A turn whose two answers are being written."""
    message = Message(text=text, after=after.id if after else None, key=secrets.token_hex(8), **more)
    turn = dialogues.say(session, user, dialogue.id, message)
    session.commit()
    return turn


def write_replies(session: Session, turn: Prompt, *texts: str, state: LiveState = LiveState.DONE) -> None:
    """What the worker would do: both answers to ``turn``, complete."""
    replies = session.scalars(
        select(LiveGeneration).where(LiveGeneration.prompt_id == turn.id).order_by(LiveGeneration.slot)
    ).all()
    _write([reply for reply in replies if reply.state in {LiveState.QUEUED, LiveState.STREAMING}], texts, state)
    session.commit()


def _write(waiting: Sequence[LiveGeneration], texts: Sequence[str], state: LiveState) -> None:
    for reply, text in zip(waiting, texts, strict=True):
        reply.state, reply.text, reply.lease_until = state, text, None
        reply.finish_reason, reply.prompt_tokens, reply.completion_tokens = "stop", 7, len(text.split())
        reply.engine_version = "fake-1"


def make_trial(session: Session, admin: User, message: str, *texts: str, **more: Any) -> Trial:
    """A trial in the playground: complete where ``texts`` says what was answered, else it is being written."""
    for checkpoint, label in (("zebra-base", "focused"), ("okapi-policy", "varied")):
        make_deployment(session, checkpoint, label).load_state = LoadState.LOADED
    session.flush()
    trial = playground.ask(session, admin, Ask(message=message, key=secrets.token_hex(8), **more))
    if texts:
        _write([trial.left, trial.right], texts, LiveState.DONE)
    session.commit()
    return trial


def judge_turn(
    session: Session,
    user: User,
    turn: Prompt,
    choice: str = "A",
    *,
    edited_text: str | None = None,
    outcome: Outcome = Outcome.RANKED,
    corrects: int | None = None,
) -> Annotation:
    """The answers to ``turn`` as ``user`` judges them: ``choice`` is better, unless ``outcome`` says otherwise."""
    ranked = outcome is Outcome.RANKED
    assert turn.dialogue_id is not None
    held = session.get_one(Assignment, dialogues.judge(session, user, turn.dialogue_id, turn.id))
    submission = Submission(
        fencing_token=held.fencing_token,
        outcome=outcome,
        ranking=[[choice], ["B" if choice == "A" else "A"]] if ranked else [],
        strengths=[3] if ranked else [],
        corrects=corrects,
        edited_text=edited_text,
        active_seconds=9.0,
    )
    recorded = recording.submit(session, user, held.id, submission, key=secrets.token_hex(16))
    session.commit()
    return session.get_one(Annotation, recorded.id)
