"""Conversing: a turn is asked, answered twice, judged, and gone on from; the tree is kept, and nothing is lost."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import recording
from app.annotations import service as annotating
from app.annotations.models import Decision
from app.annotations.queues import Queue, queue_page
from app.candidates import live
from app.candidates.models import Candidate, LiveGeneration, LiveState
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.dialogues import queries, service
from app.dialogues.forms import Finish, Message, Seed, seeds_of
from app.dialogues.models import DialogueSeed, DialogueState, Kept
from app.dialogues.queries import TurnState
from app.kernel.errors import BadInput, Conflict, NotFound
from app.prompts.models import Batch, BatchState, Prompt
from app.quality import service as quality
from app.upkeep.audit import audit
from tests.factories import make_user
from tests.talking import begin_dialogue, judge_turn, make_dialogue_batch, say, write_replies


def test_a_turn_is_asked_of_two_policies_and_compared_by_its_annotator_alone(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Why is the sky blue?")
    replies = live.replies(session, turn.id)
    assert [reply.slot for reply in replies] == [0, 1]
    assert len({reply.deployment.checkpoint_id for reply in replies}) == 2
    assert all(reply.messages == [{"role": "user", "content": "Why is the sky blue?"}] for reply in replies)
    write_replies(session, turn, "Rayleigh.", "Because.")
    held = session.get_one(Assignment, service.judge(session, alice, dialogue.id, turn.id))
    texts = [session.get_one(Candidate, each).text for each in held.order_shown]
    assert texts == ["Rayleigh.", "Because."], "they stand as they were watched"
    assert service.judge(session, alice, dialogue.id, turn.id) == held.id
    comparison = session.get_one(Comparison, held.comparison_id)
    assert (comparison.annotators_wanted, comparison.seats_free) == (1, 0)
    session.commit()
    assert audit(session, files=False) == []


def test_the_dialogue_goes_on_from_the_chosen_answer_or_from_the_edited_one(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, Seed(system="Be brief.")))
    first = say(session, alice, dialogue, "Hello")
    write_replies(session, first, "Hi.", "Good day.")
    judge_turn(session, alice, first, "B")
    second = say(session, alice, dialogue, "And?", first)
    write_replies(session, second, "So.", "Well.")
    judge_turn(session, alice, second, "A", edited_text="So it goes.")
    third = say(session, alice, dialogue, "Go on.", second)
    assert [each["content"] for each in third.messages] == [
        "Be brief.", "Hello", "Good day.", "And?", "So it goes.", "Go on."
    ]  # fmt: skip
    as_it_was = say(session, alice, dialogue, "Go on.", second, answer="A")
    assert as_it_was.messages[-2]["content"] == "So."
    assert [each.parent_id for each in (first, second, third, as_it_was)] == [None, first.id, second.id, second.id]
    assert {each.content_hash for each in (second, third, as_it_was)} == {first.content_hash}, "a path is on one side"
    session.commit()
    assert audit(session, files=False) == []


def test_going_back_starts_a_branch_and_the_other_one_stays(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    root = say(session, alice, dialogue, "One")
    write_replies(session, root, "a", "b")
    judge_turn(session, alice, root)
    left, right = say(session, alice, dialogue, "Two", root), None
    write_replies(session, left, "c", "d")
    right = say(session, alice, dialogue, "Or two", root)
    other = say(session, alice, dialogue, "Quite another")
    turns = queries.turns(session, dialogue)
    assert [(each.number, each.depth, each.parent_id) for each in turns] == [
        (1, 1, None), (2, 2, root.id), (3, 2, root.id), (4, 1, None)
    ]  # fmt: skip
    assert [each.state for each in turns] == [
        TurnState.JUDGED, TurnState.WRITTEN, TurnState.WRITING, TurnState.WRITING
    ]  # fmt: skip
    assert [each.id for each in queries.path(turns, right.id)] == [root.id, right.id]
    assert other.content_hash != root.content_hash


def test_the_same_message_sent_twice_is_said_once(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    message = Message(text="Hello", key="k1")
    first = service.say(session, alice, dialogue.id, message)
    assert service.say(session, alice, dialogue.id, message).id == first.id
    assert session.scalar(select(func.count()).select_from(LiveGeneration)) == 2


def test_a_key_that_was_used_for_another_message_is_refused(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    first = service.say(session, alice, dialogue.id, Message(text="Hello", key="k1"))
    for other in (Message(text="Good day", key="k1"), Message(text="Hello", key="k1", after=first.id)):
        with pytest.raises(BadInput, match="used for another request"):
            service.say(session, alice, dialogue.id, other)
    assert queries.count_turns(session, dialogue) == 1


def test_a_key_that_begins_like_another_is_another(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    for key in ("k-10", "k-1"):
        write_replies(session, turn, "", "")
        service.again(session, alice, dialogue.id, turn.id, key)
        assert {reply.state for reply in live.replies(session, turn.id)} == {LiveState.QUEUED}, key


def test_a_turn_that_is_not_judged_leads_nowhere(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    with pytest.raises(Conflict, match="Judge the answers"):
        service.say(session, alice, dialogue.id, Message(text="And?", after=turn.id, key="k2"))
    assignment = service.judge(session, alice, dialogue.id, turn.id)
    annotating.skip(session, alice, assignment, "offensive")
    with pytest.raises(Conflict, match="Judge the answers"):
        service.say(session, alice, dialogue.id, Message(text="And?", after=turn.id, key="k3"))
    assert [each.state for each in queries.turns(session, dialogue)] == [TurnState.SKIPPED]


def test_a_response_that_lost_is_none_to_go_on_from(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    judge_turn(session, alice, turn, "A")
    with pytest.raises(BadInput, match="first place"):
        service.say(session, alice, dialogue.id, Message(text="And?", after=turn.id, answer="B", key="k2"))


def test_a_dialogue_has_an_end_and_other_ways_stay_open(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, max_turns=2))
    turns: list[Prompt] = []
    for text in ("One", "Two"):
        turn = say(session, alice, dialogue, text, turns[-1] if turns else None)
        write_replies(session, turn, "a", "b")
        judge_turn(session, alice, turn)
        turns.append(turn)
    with pytest.raises(Conflict, match="at most 2 turns"):
        service.say(session, alice, dialogue.id, Message(text="Three", after=turns[1].id, key="k"))
    assert say(session, alice, dialogue, "Another two", turns[0]).parent_id == turns[0].id


def test_a_given_opening_is_said_as_it_is(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, Seed(opening="What is love?")))
    with pytest.raises(BadInput, match="send it unchanged"):
        service.say(session, alice, dialogue.id, Message(text="What is hate?", key="k"))
    assert say(session, alice, dialogue, "What is love?").messages == [{"role": "user", "content": "What is love?"}]


def test_a_finished_dialogue_says_whether_its_system_prompt_was_kept(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, Seed(system="Be brief.")))
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    service.judge(session, alice, dialogue.id, turn.id)
    with pytest.raises(BadInput, match="system prompt"):
        service.finish(session, alice, dialogue.id, Finish())
    with pytest.raises(Conflict, match="not judged yet"):
        service.finish(session, alice, dialogue.id, Finish(system_kept=Kept.PARTLY))
    judge_turn(session, alice, turn)
    done = service.finish(session, alice, dialogue.id, Finish(system_kept=Kept.PARTLY, note="Once it rambled."))
    assert (done.state, done.system_kept, done.note) == (DialogueState.FINISHED, Kept.PARTLY, "Once it rambled.")
    assert done.finished_at is not None
    assert service.finish(session, alice, dialogue.id, Finish()).system_kept is Kept.PARTLY
    with pytest.raises(Conflict, match="finished"):
        service.say(session, alice, dialogue.id, Message(text="And?", after=turn.id, key="k"))


def test_seeds_are_begun_once_by_each_and_as_often_as_wanted(session: Session) -> None:
    alice, dora = make_user(session), make_user(session, name="Dora")
    batch = make_dialogue_batch(session, Seed(opening="Hello", dialogues=2))
    assert begin_dialogue(session, alice, batch).id == begin_dialogue(session, alice, batch).id
    service.finish(session, alice, begin_dialogue(session, alice, batch).id, Finish())
    with pytest.raises(Conflict, match="nothing left"):
        service.begin(session, alice, batch.id)
    assert begin_dialogue(session, dora, batch).annotator_id == dora.id
    assert session.scalars(select(DialogueSeed.seats_free)).all() == [0]


def test_where_people_write_the_first_message_one_may_begin_several_times(session: Session) -> None:
    alice = make_user(session)
    batch = make_dialogue_batch(session, Seed(dialogues=2))
    first = begin_dialogue(session, alice, batch)
    service.finish(session, alice, first.id, Finish())
    assert begin_dialogue(session, alice, batch).id != first.id


def test_a_paused_or_closed_batch_takes_nothing(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    for state, words in ((BatchState.PAUSED, "paused"), (BatchState.CLOSED, "closed")):
        session.get_one(Batch, dialogue.batch_id).state = state
        session.commit()
        with pytest.raises(Conflict, match=words):
            service.say(session, alice, dialogue.id, Message(text="Hello", key="k"))
    with pytest.raises(NotFound):
        service.begin(session, alice, make_dialogue_batch(session, state=BatchState.PREPARING).id)


def test_nobody_reaches_the_dialogue_of_another(session: Session) -> None:
    alice, dora = make_user(session), make_user(session, name="Dora")
    rita = make_user(session, Role.REVIEWER, "Rita")
    dialogue = begin_dialogue(session, alice)
    with pytest.raises(NotFound):
        service.say(session, dora, dialogue.id, Message(text="Hello", key="k"))
    with pytest.raises(NotFound):
        queries.access(session, dora, dialogue.id)
    assert queries.access(session, rita, dialogue.id).id == dialogue.id
    with pytest.raises(NotFound):
        service.say(session, rita, dialogue.id, Message(text="Hello", key="k"))


def test_a_turn_is_never_given_to_anybody_as_an_item(session: Session) -> None:
    alice, dora = make_user(session), make_user(session, name="Dora")
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    assignment = service.judge(session, alice, dialogue.id, turn.id)
    annotating.release(session, alice, assignment)
    session.commit()
    assert annotating.next_assignment(session, dora) is None
    assert annotating.next_assignment(session, alice) is None
    assert annotating.extend_lease(session, alice, assignment).state is AssignmentState.ACTIVE


def test_what_was_taken_back_is_to_be_judged_again_and_what_followed_stays(session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    said = judge_turn(session, alice, turn, "A")
    following = say(session, alice, dialogue, "And?", turn)
    recording.undo(session, alice, said.assignment_id)
    states = {each.id: each.state for each in queries.turns(session, dialogue)}
    assert states == {turn.id: TurnState.JUDGING, following.id: TurnState.WRITING}


def test_beginnings_are_written_in_blocks() -> None:
    assert seeds_of("", "", 3) == [Seed(dialogues=3)]
    assert seeds_of("Be brief.\r\n---\r\nRhyme,\r\nalways.\n", "Hello\n --- \n", 1) == [
        Seed(system="Be brief.", opening="Hello"),
        Seed(system="Rhyme,\nalways.", opening="Hello"),
    ]
    lower, brief = ({"kind": "instructions", "ids": [name]} for name in ("change_case:english_lowercase", "x:brief"))
    for_all = seeds_of("Be brief.\n---\nRhyme.", "", 1, json.dumps(lower))
    assert [seed.tests for seed in for_all] == [[lower], [lower]], "one test stands for a list of one"
    for_each = seeds_of(
        "Be brief.\n---\nRhyme.", "Hello\n---\nBye", 1, f"{json.dumps([brief])}\n---\n{json.dumps(lower)}"
    )
    assert [seed.tests for seed in for_each] == [[brief], [brief], [lower], [lower]]
    with pytest.raises(BadInput, match="3 blocks of checks for 2 system prompts"):
        seeds_of("Be brief.\n---\nRhyme.", "", 1, "[]\n---\n[]\n---\n[]")


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("{not json", "not valid JSON"),
        ('[{"ids": ["x"]}]', "without a kind"),
        ('[{"kind": " "}]', "without a kind"),
        ('[{"kind": "span", "text": "\\u0000"}]', "NUL"),
        (json.dumps({"kind": "span", "text": "x" * 30_000}), "at most|is the most"),
        ("7", "list"),
    ],
)
def test_checks_of_dialogues_that_cannot_be_read_are_refused_with_the_reason(tests: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        seeds_of("Be brief.", "", 1, tests)


def test_a_turn_is_reviewed_like_all_work_but_makes_no_known_answer(session: Session) -> None:
    alice, rita = make_user(session), make_user(session, Role.REVIEWER, "Rita")
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    said = judge_turn(session, alice, turn)
    with pytest.raises(BadInput, match="Dialogue turns"):
        quality.make_gold(session, rita, said, "Because.")
    quality.review(session, rita, said, Decision.RETURNED, "Too harsh.")
    assert [row.id for row in queue_page(session, alice, Queue.RETURNED).rows] == [said.assignment_id]
