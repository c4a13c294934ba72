"""The two answers to a turn: who writes them, what stops, fails or is used up, and when they are compared."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.candidates import live
from app.candidates.models import Candidate, LiveGeneration, LiveState
from app.comparisons.models import Assignment
from app.dialogues import service
from app.dialogues.forms import Message
from app.kernel.errors import Conflict, TooMany, Unavailable
from app.kernel.settings import get_settings
from app.prompts.models import Batch, Prompt
from app.registry import service as registry
from app.registry.models import Deployment, LoadState, LoopRole
from tests.factories import make_checkpoint, make_deployment, make_user
from tests.generating import load_all, promote
from tests.talking import begin_dialogue, make_dialogue_batch, say, write_replies

PROMPT = 20
"""More tokens than "Hello" is counted for, and fewer than an answer."""


def test_each_turn_is_answered_by_the_champion_and_one_other(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    champion, challenger = make_checkpoint(session, "policy-r1"), make_checkpoint(session, "policy-r2")
    registry.ensure_rotation(session)
    promote(session, champion)
    registry.challenge(session, challenger)
    load_all(session)
    beside = set()
    for number in range(8):
        turn = say(session, alice, dialogue, f"Question {number}?")
        asked = {reply.deployment.checkpoint_id for reply in live.replies(session, turn.id)}
        assert champion.id in asked
        beside |= asked - {champion.id}
        write_replies(session, turn, f"One {number}.", f"Two {number}.")
    base = registry.appointed(session, LoopRole.BASE)
    assert base is not None
    assert beside <= {challenger.id, base.id}


def test_an_answer_whose_writer_has_left_is_asked_of_who_would_answer_now(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    broken, other = live.replies(session, turn.id)
    broken.state = LiveState.FAILED
    registry.ensure_rotation(session)
    promote(session, make_checkpoint(session, "policy-r1"))
    load_all(session)
    session.get_one(Deployment, broken.deployment_id).ended_at = broken.created_at
    session.commit()
    service.again(session, alice, dialogue.id, turn.id, "k2")
    renewed, kept = live.replies(session, turn.id)
    assert kept.id == other.id
    loaded = {each.id for each in registry.rotation(session)}
    assert renewed.deployment_id in loaded
    assert renewed.deployment.checkpoint_id != kept.deployment.checkpoint_id


def test_a_quota_that_is_used_up_adds_no_turn(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    enough_for_one = session.get_one(Batch, dialogue.batch_id).max_tokens + PROMPT
    less = get_settings().model_copy(update={"live_tokens_per_day": enough_for_one})
    monkeypatch.setattr(live, "get_settings", lambda: less)
    with pytest.raises(TooMany):
        service.say(session, alice, dialogue.id, Message(text="Hello", key="k1"))
    session.commit()
    assert session.scalar(select(func.count()).select_from(Prompt)) == 0
    assert session.scalar(select(func.count()).select_from(LiveGeneration)) == 0


def test_a_quota_for_one_answer_asks_for_none_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "", "")
    spent = sum(reply.prompt_tokens + reply.completion_tokens for reply in live.replies(session, turn.id))
    enough_for_one = session.get_one(Batch, dialogue.batch_id).max_tokens + PROMPT + spent
    less = get_settings().model_copy(update={"live_tokens_per_day": enough_for_one})
    monkeypatch.setattr(live, "get_settings", lambda: less)
    with pytest.raises(TooMany):
        service.again(session, alice, dialogue.id, turn.id, "k2")
    session.commit()
    assert [reply.state for reply in live.replies(session, turn.id)] == [LiveState.DONE, LiveState.DONE]


def test_nothing_is_said_while_no_model_is_loaded(session: Session) -> None:
    alice = make_user(session)
    dialogue = service.begin(session, alice, make_dialogue_batch(session).id)
    with pytest.raises(Unavailable):
        service.say(session, alice, dialogue.id, Message(text="Hello", key="k1"))


def test_answers_are_compared_only_when_both_have_come(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    with pytest.raises(Conflict, match="still being written"):
        service.judge(session, alice, dialogue.id, turn.id)
    with pytest.raises(Conflict, match="still being written"):
        service.again(session, alice, dialogue.id, turn.id, "k2")


def test_the_same_answer_twice_is_asked_for_again_and_only_one_of_them(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hi. ")
    with pytest.raises(Conflict, match="identical"):
        service.judge(session, alice, dialogue.id, turn.id)
    service.again(session, alice, dialogue.id, turn.id, "k2")
    service.again(session, alice, dialogue.id, turn.id, "k2")
    session.commit()
    assert [reply.state for reply in live.replies(session, turn.id)] == [LiveState.DONE, LiveState.QUEUED]
    write_replies(session, turn, "Hello!")
    held = session.get_one(Assignment, service.judge(session, alice, dialogue.id, turn.id))
    assert [session.get_one(Candidate, each).text for each in held.order_shown] == ["Hi.", "Hello!"]


def test_an_answer_that_failed_is_written_again_beside_the_one_that_did_not(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    broken = live.replies(session, turn.id)[0]
    broken.state, broken.error = LiveState.FAILED, "away"
    session.commit()
    with pytest.raises(Conflict, match="could not be generated"):
        service.judge(session, alice, dialogue.id, turn.id)
    service.again(session, alice, dialogue.id, turn.id, "k2")
    renewed = live.replies(session, turn.id)
    assert [reply.state for reply in renewed] == [LiveState.QUEUED, LiveState.DONE]
    assert renewed[0].deployment_id == broken.deployment_id


def test_what_had_come_when_it_was_stopped_is_judged(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi th", "Hello", state=LiveState.STOPPED)
    assert service.judge(session, alice, dialogue.id, turn.id)


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_was_stopped_is_judged_at_one_length_whichever_was_ahead(session: Session, ahead: int) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "A whole answer.", "A half an", state=LiveState.STOPPED)
    first, second = live.replies(session, turn.id)
    first.state = LiveState.DONE
    first.slot, second.slot = ahead, 1 - ahead
    session.commit()
    held = session.get_one(Assignment, service.judge(session, alice, dialogue.id, turn.id))
    judged = [session.get_one(Candidate, each) for each in held.order_shown]
    assert {each.text for each in judged} == {"A whole a", "A half an"}
    assert {each.finish_reason for each in judged} == {"stopped"}


def test_one_stop_is_for_both_and_who_had_begun_is_not_told(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    first, second = live.replies(session, turn.id)
    write_replies(session, turn, "A whole answer.", "")
    second.state = LiveState.QUEUED
    session.commit()
    live.stop(session, alice, first.id)
    with pytest.raises(Conflict, match="Both answers"):
        service.judge(session, alice, dialogue.id, turn.id)
    service.again(session, alice, dialogue.id, turn.id, "k2")
    assert [reply.state for reply in live.replies(session, turn.id)] == [LiveState.QUEUED, LiveState.QUEUED]


def test_both_stopped_before_a_word_came_are_asked_for_again(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    for reply in live.replies(session, turn.id):
        live.stop(session, alice, reply.id)
    with pytest.raises(Conflict, match="Both answers"):
        service.judge(session, alice, dialogue.id, turn.id)
    service.again(session, alice, dialogue.id, turn.id, "k2")
    assert [reply.state for reply in live.replies(session, turn.id)] == [LiveState.QUEUED, LiveState.QUEUED]


def test_one_model_with_two_samplings_can_answer_too(session: Session) -> None:
    alice = make_user(session)
    for label in ("focused", "varied"):
        make_deployment(session, label=label).load_state = LoadState.LOADED
    dialogue = service.begin(session, alice, make_dialogue_batch(session).id)
    turn = say(session, alice, dialogue, "Hello")
    assert len({reply.deployment_id for reply in live.replies(session, turn.id)}) == 2
