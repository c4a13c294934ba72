"""Dialogues as pages without scripts, and over the API."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.candidates import live
from app.candidates.models import LiveGeneration, LiveState
from app.dialogues import service
from app.dialogues.forms import Seed
from app.dialogues.models import Dialogue, DialogueSeed
from app.judgements.vocabulary import Outcome
from app.prompts.models import Batch, BatchKind, BatchState, Prompt
from app.registry.models import LoadState
from tests.factories import make_deployment, make_user, sign_in
from tests.talking import begin_dialogue, judge_turn, make_dialogue_batch, say, write_replies

BANG = "<img src=x onerror=alert(1)>"


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    """Alice, signed in."""
    user = make_user(session)
    sign_in(client, user)
    return user


def hidden(page: str) -> dict[str, str]:
    """What stands in the hidden fields of the judging page."""
    names = ("fencing_token", "key", "draft_version", "active_seconds")
    return dict(re.findall(rf'name="({"|".join(names)})"\s+value="([^"]*)"', page))


def newest(session: Session) -> Prompt:
    return session.scalars(select(Prompt).order_by(Prompt.id.desc()).limit(1)).one()


def test_a_whole_turn_without_scripts(client: TestClient, session: Session, alice: User) -> None:
    batch = make_dialogue_batch(session, Seed(system="Answer like a pirate."))
    for checkpoint in ("zebra-base", "okapi-policy"):
        make_deployment(session, checkpoint).load_state = LoadState.LOADED
    session.commit()
    assert "Begin a dialogue" in client.get("/").text
    where = client.post("/dialogues", data={"batch": batch.id}).headers["location"]
    page = client.get(where)
    assert "Answer like a pirate." in page.text
    key = re.search(r'name="key" value="([^"]+)"', page.text)
    assert key
    said = client.post(f"{where}/turns", data={"text": "Ahoy?", "after": "", "key": key[1]})
    turn = newest(session)
    assert said.headers["location"] == f"{where}?turn={turn.id}"
    watching = client.get(said.headers["location"]).text
    assert "Two models are answering" in watching
    assert "zebra" not in watching
    assert "okapi" not in watching
    write_replies(session, turn, "Arr, **aye**!", "Hello.")
    assert "Judge the two answers" in client.get(said.headers["location"]).text
    item = client.post(f"{where}/turns/{turn.id}/judge").headers["location"]
    work = client.get(item).text
    assert "Ahoy?" in work
    assert f'href="{where}?turn={turn.id}"' in work
    judged = client.post(f"{item}/submit", data=hidden(work) | {"choice": "A3"})
    assert judged.headers["location"] == f"{where}?turn={turn.id}"
    after = client.get(judged.headers["location"]).text
    assert "<strong>aye</strong>" in after
    assert "Your next message" in after
    taken_back = client.post(f"{item}/undo")
    assert f'action="{item}/undo"' in after
    assert taken_back.headers["location"] == f"{item}?back=1"
    judged_again = client.post(f"{item}/submit", data=hidden(client.get(item).text) | {"choice": "A4"})
    assert judged_again.status_code == 303
    assert "Both answers" in client.get(where).text
    refused = client.post(f"{where}/finish", data={"note": ""})
    assert refused.status_code == 422
    assert "Say whether the answers kept to the system prompt" in refused.text
    assert client.post(f"{where}/finish", data={"system_kept": "yes"}).headers["location"] == "/dialogues"
    assert "finished" in client.get("/dialogues").text
    assert "Your next message" not in client.get(where).text


def test_what_was_typed_stays_when_it_is_refused(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice)
    session.get_one(Batch, dialogue.batch_id).state = BatchState.PAUSED
    session.commit()
    answer = client.post(f"/dialogues/{dialogue.id}/turns", data={"text": "My long thought", "key": "k"})
    assert answer.status_code == 409
    assert "paused" in answer.text
    empty = client.post(f"/dialogues/{dialogue.id}/turns", data={"text": "  ", "key": "k"})
    assert empty.status_code == 422


def test_a_refused_message_is_still_in_its_field(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice, make_dialogue_batch(session, max_turns=1))
    turn = say(session, alice, dialogue, "One")
    write_replies(session, turn, "a", "b")
    judge_turn(session, alice, turn)
    other = say(session, alice, dialogue, "Another one")
    data = {"text": "Too early", "after": str(other.id), "key": "k"}
    answer = client.post(f"/dialogues/{dialogue.id}/turns", data=data)
    assert answer.status_code == 409
    assert "Judge the answers to this turn first" in answer.text
    unstorable = client.post(f"/dialogues/{dialogue.id}/turns", data={"text": "Half\0", "after": "", "key": "k"})
    assert unstorable.status_code == 422
    assert "NUL" in unstorable.text


def test_answers_that_cannot_be_compared_are_asked_for_again(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hi.")
    where = f"/dialogues/{dialogue.id}"
    back = client.post(f"{where}/turns/{turn.id}/judge")
    assert back.headers["location"] == f"{where}?turn={turn.id}"
    page = client.get(back.headers["location"]).text
    assert "Both answers are identical" in page
    client.post(f"{where}/turns/{turn.id}/again", data={"key": "k2"})
    assert "Two models are answering" in client.get(where).text
    client.post(f"{where}/turns/{turn.id}/stop")
    session.expire_all()
    assert [each.state for each in live.replies(session, turn.id)] == [LiveState.DONE, LiveState.STOPPED]


def test_skipping_leads_back_to_the_dialogue(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello.")
    item = service.judge(session, alice, dialogue.id, turn.id)
    session.commit()
    answer = client.post(f"/assignments/{item}/skip", data={"reason": "private"})
    assert answer.headers["location"] == f"/dialogues/{dialogue.id}?turn={turn.id}"
    after = client.get(answer.headers["location"]).text
    assert "begin again" in after
    assert 'name="text"' in client.get(f"/dialogues/{dialogue.id}?turn=0").text
    assert f'action="/assignments/{item}/undo"' in after
    client.post(f"/assignments/{item}/undo")
    assert "Two answers are waiting for your judgement" in client.get(answer.headers["location"]).text


def test_the_tree_shows_every_branch(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice)
    root = say(session, alice, dialogue, "One")
    write_replies(session, root, "a", "b")
    judge_turn(session, alice, root, edited_text="a, but better")
    for text in ("Left", "Right"):
        say(session, alice, dialogue, text, root)
        session.query(LiveGeneration).update({"state": LiveState.DONE})
    page = client.get(f"/dialogues/{dialogue.id}?turn={root.id}").text
    assert page.count('class="tree__turn ') == 3
    assert "2 branches" in page
    assert "Your edit of the better answer" in page
    assert 'value="edited" checked' in page


def test_after_a_tie_no_answer_is_called_better(client: TestClient, session: Session, alice: User) -> None:
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    judge_turn(session, alice, turn, outcome=Outcome.TIE)
    page = client.get(f"/dialogues/{dialogue.id}").text
    assert "Response A, as good as the other" in page
    assert "you found them equally good" in page
    assert "unedited" not in page
    say(session, alice, dialogue, "And?", turn, answer="B")
    page = client.get(f"/dialogues/{dialogue.id}").text
    assert "Response B, as good as the other" in page
    assert "better" not in page.lower()


def test_an_answer_that_a_correction_put_second_is_no_longer_called_better(
    client: TestClient, session: Session, alice: User
) -> None:
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, "Hello")
    write_replies(session, turn, "Hi.", "Hello!")
    said = judge_turn(session, alice, turn, "A")
    say(session, alice, dialogue, "And?", turn)
    assert "The better answer" in client.get(f"/dialogues/{dialogue.id}").text
    judge_turn(session, alice, turn, "B", corrects=said.id)
    page = client.get(f"/dialogues/{dialogue.id}").text
    assert "The better answer" not in page
    assert "The answer that the dialogue continued from" in page


def test_earlier_turns_are_a_line_each(client: TestClient, session: Session, alice: User) -> None:
    dialogue, turn = begin_dialogue(session, alice), None
    for text in ("First *question*", "Second", "Third"):
        turn = say(session, alice, dialogue, text, turn)
        write_replies(session, turn, "Hi.", "Hello!")
        judge_turn(session, alice, turn)
    page = client.get(f"/dialogues/{dialogue.id}").text
    assert page.count('<details class="earlier">') == 2
    assert re.search(r"Turn 1</span> <span[^>]*>First \*question\*</span></summary>", page)


def test_dialogues_are_among_what_waits(client: TestClient, session: Session, alice: User) -> None:
    batch = make_dialogue_batch(session, name="Pirates")
    make_dialogue_batch(session, name="Parrots", state=BatchState.PAUSED)
    page = client.get("/annotate").text
    assert "Nothing left to annotate" in page
    assert "Pirates" in page
    assert "Parrots" not in page
    assert '<a href="/dialogues">Dialogues</a>' in page, "in the navigation"
    where = client.post("/dialogues", data={"batch": batch.id}).headers["location"]
    assert f'href="{where}"' in client.get("/annotate").text


def test_an_admin_makes_a_batch_of_dialogues(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    begin_dialogue(session, make_user(session))  # makes the round, too
    assert client.get("/batches/new/dialogues").status_code == 200
    form = {
        "name": "Pirates",
        "systems": "Be a pirate.\n---\nBe a parrot.",
        "openings": "Hello",
        "dialogues": "2",
        "max_turns": "3",
        "max_tokens": "64",
        "edit_policy": "optional",
        "attributes": "Helpful: no | yes",
        "guidelines": "Be *kind*.",
        "example_4": "Only one is a pirate.",
    }
    made = client.post("/batches/new/dialogues", data=form)
    assert made.status_code == 303, made.text
    batch = session.scalars(select(Batch).where(Batch.name == "Pirates")).one()
    assert (batch.kind, batch.state, batch.max_turns) == (BatchKind.DIALOGUE, BatchState.PREPARING, 3)
    seeds = session.scalars(select(DialogueSeed).where(DialogueSeed.batch_id == batch.id)).all()
    assert [(seed.system, seed.opening, seed.dialogues_wanted) for seed in seeds] == [
        ("Be a pirate.", "Hello", 2),
        ("Be a parrot.", "Hello", 2),
    ]
    page = client.get(made.headers["location"])
    assert "All dialogues of this batch" in page.text
    assert client.get(f"/batches/{batch.id}/dialogues").status_code == 200
    again = client.post("/batches/new/dialogues", data=form)
    assert again.status_code == 422
    assert "batch with this name" in again.text
    for wrong in ({"dialogues": "many"}, {"dialogues": "0"}, {"dialogues": "999"}, {"max_turns": "0"}, {"name": ""}):
        answer = client.post("/batches/new/dialogues", data=form | {"name": "Other"} | wrong)
        assert answer.status_code == 422, wrong
        assert "Be a parrot." in answer.text, "nothing is typed twice"
    refused = client.post(f"/batches/{batch.id}/settings", data={"verify_percent": "10"})
    assert refused.status_code == 422


def test_others_neither_see_nor_change_a_dialogue(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    dialogue = begin_dialogue(session, alice)
    turn = say(session, alice, dialogue, f"Hello {BANG}")
    sign_in(client, make_user(session, name="Dora"))
    where = f"/dialogues/{dialogue.id}"
    assert client.get(where).status_code == 404
    for door, data in (("turns", {"text": "x", "key": "k"}), (f"turns/{turn.id}/judge", {}), ("finish", {})):
        assert client.post(f"{where}/{door}", data=data).status_code == 404, door
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get(where).text
    assert BANG not in page
    assert "A dialogue of Alice" in page
    assert 'name="text"' not in page


def test_a_dialogue_over_the_api(client: TestClient, session: Session, alice: User) -> None:
    batch = make_dialogue_batch(session, Seed(opening="What is love?"))
    for checkpoint in ("zebra-base", "okapi-policy"):
        make_deployment(session, checkpoint).load_state = LoadState.LOADED
    session.commit()
    begun = client.post("/api/v1/dialogues", json={"batch": batch.id})
    assert begun.status_code == 201
    assert begun.json()["opening"] == "What is love?"
    where = f"/api/v1/dialogues/{begun.json()['id']}"
    body = {"text": "What is love?", "key": "k1"}
    first = client.post(f"{where}/turns", json=body)
    assert first.status_code == 201, first.text
    assert client.post(f"{where}/turns", json=body).json()["id"] == first.json()["id"]
    assert first.json()["state"] == "writing"
    assert len(first.json()["generations"]) == 2
    early = client.post(f"{where}/turns/{first.json()['id']}/judge")
    assert early.status_code == 409
    turn = session.get_one(Prompt, first.json()["id"])
    write_replies(session, turn, "Baby,", "don't hurt me.")
    item = client.post(f"{where}/turns/{turn.id}/judge").json()["assignment_id"]
    work = client.get(f"/api/v1/assignments/{item}").json()
    judgement = {
        "fencing_token": work["fencing_token"], "outcome": "ranked", "ranking": [["B"], ["A"]], "strengths": [4],
        "edited_text": "Don't hurt me.",
    }  # fmt: skip
    submitted = client.post(f"/api/v1/assignments/{item}/submit", json=judgement, headers={"Idempotency-Key": "j1"})
    assert submitted.status_code == 200, submitted.text
    [turn_now] = client.get(where).json()["turns"]
    assert turn_now["answers"] == [
        {"name": "edited", "text": "Don't hurt me."},
        {"name": "B", "text": "don't hurt me."},
    ]
    second = client.post(f"{where}/turns", json={"text": "No more", "after": turn.id, "answer": "B", "key": "k2"})
    assert second.json()["parent_id"] == turn.id
    stored = session.get_one(Prompt, second.json()["id"])
    assert [each["content"] for each in stored.messages] == ["What is love?", "don't hurt me.", "No more"]
    listed = client.get("/api/v1/dialogues").json()
    assert [each["turns"] for each in listed["dialogues"]] == [2]
    ended = client.post(f"{where}/finish", json={})
    assert ended.json()["state"] == "finished"
    assert session.get_one(Dialogue, begun.json()["id"]).note == ""


def test_an_admin_makes_one_over_the_api(client: TestClient, session: Session) -> None:
    begin_dialogue(session, make_user(session))
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    body = {"name": "Pirates", "seeds": [{"system": "Be a pirate.", "dialogues": 5}], "max_turns": 4}
    made = client.post("/api/v1/batches/dialogues", json=body, headers={"Idempotency-Key": "b1"})
    assert made.status_code == 201, made.text
    assert made.json()["dialogues"] == 5
    again = client.post("/api/v1/batches/dialogues", json=body, headers={"Idempotency-Key": "b1"})
    assert again.json() == made.json()
