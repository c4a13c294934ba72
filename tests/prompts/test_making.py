"""The form of a new batch: prompts, settings and whom it is assigned to in one POST, and how it will look meanwhile."""

from __future__ import annotations

import html
import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import AuditEvent, Team, User
from app.batches.assigning import of_batch
from app.prompts.models import Batch, BatchTeam, Priority, Prompt, Upload
from tests.factories import make_user
from tests.prompts.pages import count, jsonl, upload

FILE = {"file": ("sky.jsonl", jsonl({"prompt": "Why is the sky blue?"}, {"prompt": "Where is Ulm?"}))}


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def night(session: Session, bob: User, alice: User) -> Team:
    team = teams.create(session, bob, "Night shift", [alice.id])
    session.commit()
    return team


def seen(text: str) -> str:
    """The document in the frame of a look."""
    found = re.search(r'srcdoc="([^"]*)"', text)
    assert found
    return html.unescape(found[1])


def test_one_post_makes_a_batch_with_its_assignment(
    client: TestClient, session: Session, bob: User, alice: User, night: Team
) -> None:
    client.cookies.set("zone", "Asia/Tokyo")
    rita = make_user(session, name="Rita")
    session.commit()
    fields = {"name": "Sky", "teams": [night.id], "people": [alice.id, bob.id], "barred": [rita.id], "priority": "high"}
    answer = client.post(
        "/batches/new", files=FILE, data=fields | {"deadline": "2026-12-24T09:00", "quota": "7", "readers_only": "true"}
    )

    batch = session.scalars(select(Batch)).one()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/batches/{batch.id}")
    assert of_batch(session, batch).ids() == {
        "teams": [night.id],
        "people": sorted([alice.id, bob.id]),
        "barred": [rita.id],
    }
    assert (batch.assigned_only, batch.priority, batch.quota, batch.readers_only) == (True, Priority.HIGH, 7, True)
    assert batch.deadline is not None
    assert batch.deadline.isoformat() == "2026-12-24T00:00:00+00:00"
    assert count(session, Prompt) == 2


def test_prompts_come_as_text(client: TestClient, session: Session, bob: User) -> None:
    client.post(
        "/batches/new", data={"name": "Typed", "text": 'Why "blue"?\r\n\r\n{"prompt": "Where?", "id": "w"}\r\n'}
    )

    found = session.execute(select(Prompt.external_id, Prompt.messages).order_by(Prompt.id)).all()
    assert [messages[-1]["content"] for _, messages in found] == ['Why "blue"?', "Where?"]
    assert found[1][0] == "w"


def test_all_that_is_wrong_is_said_beside_its_fields_and_there_is_no_batch(
    client: TestClient, session: Session, bob: User, night: Team
) -> None:
    wrong = {"name": "", "quota": "none", "deadline": "soon", "candidates_per_prompt": "1", "guidelines": "Kind."}
    answer = client.post("/batches/new", files=FILE, data=wrong | {"teams": [night.id]})

    assert answer.status_code == 422
    for name in ("name", "deadline", "candidates_per_prompt"):
        assert f'id="error-{name}"' in answer.text, name
    assert "Kind." in answer.text
    assert f'value="{night.id}" checked' in answer.text
    assert count(session, Batch) == 0
    # the file is kept, so that it is not sent twice
    kept = session.scalars(select(Upload)).one()
    assert f'action="/uploads/{kept.id}/confirm"' in answer.text


@pytest.mark.parametrize("field", ["teams", "people", "barred"])
def test_whom_nobody_knows_leaves_no_batch_without_its_assignment(
    client: TestClient, session: Session, bob: User, field: str
) -> None:
    for value, said in (("999999999", "with the number 999999999"), ("x", "integer")):
        answer = client.post("/batches/new", files=FILE, data={"name": "Sky", field: value})
        assert (answer.status_code, f'id="error-{field}"' in answer.text) == (422, True)
        assert said in answer.text
    assert count(session, Batch) == count(session, Prompt) == 0


def test_a_field_that_there_is_not_is_refused_before_a_file_is_kept(
    client: TestClient, session: Session, bob: User
) -> None:
    answer = client.post("/batches/new", files=FILE, data={"name": "Sky", "look": "true", "state": "open"})
    assert answer.status_code == 422
    assert count(session, Upload) == 0


def test_looking_at_a_file_keeps_what_was_typed_and_suggests_the_rest(
    client: TestClient, session: Session, bob: User
) -> None:
    answer = client.post(
        "/batches/new", files=FILE, data={"name": "", "guidelines": "Typed.", "max_tokens": "99", "look": "true"}
    )
    assert answer.status_code == 200
    assert 'name="name" type="text" value="sky"' in answer.text
    assert 'name="max_tokens" type="number" value="99"' in answer.text
    assert "Typed." in answer.text
    assert "Why is the sky blue?" in answer.text
    assert count(session, Batch) == 0


def test_a_look_shows_the_first_prompt_with_the_settings_so_far_and_keeps_nothing(
    client: TestClient, session: Session, bob: User, night: Team
) -> None:
    page = upload(client, FILE["file"][1])
    events = session.scalar(select(func.count()).select_from(AuditEvent))
    fields = {"upload": page.rpartition("/")[2], "name": "Sky", "candidates_per_prompt": "3", "teams": [night.id]}
    more = {"guidelines": "Be *kind*.", "attributes": "Helpful: no | yes", "annotators_per_prompt": "2"}
    answer = client.post("/batches/new/look", data=fields | more)

    assert answer.status_code == 200
    shown = seen(answer.text)
    assert "Why is the sky blue?" in shown
    assert len(re.findall("<article", shown)) == 3
    assert "Be <em>kind</em>." in shown
    assert "Helpful" in shown
    assert "it reaches 1 annotator" in answer.text
    assert "Night shift" in answer.text
    assert count(session, Batch) == 0
    assert session.scalar(select(func.count()).select_from(BatchTeam)) == 0
    assert session.scalar(select(func.count()).select_from(AuditEvent)) == events


def test_a_look_without_a_prompt_shows_an_example_and_says_so(client: TestClient, session: Session, bob: User) -> None:
    answer = client.post("/batches/new/look", data={"name": "", "candidates_per_prompt": "many", "edit_policy": "none"})
    assert "this is an example of ours" in answer.text
    assert "1900" in seen(answer.text)
    assert len(re.findall("<article", seen(answer.text))) == 4  # what cannot be used yet is as it was suggested
    assert "The first of your prompts" in client.post("/batches/new/look", data={"text": "Why?"}).text
    assert count(session, Upload) == 0


@pytest.mark.parametrize(("task", "title"), [("write", "Write the answer"), ("steps", "the first wrong one")])
def test_a_look_is_of_what_people_do(client: TestClient, bob: User, task: str, title: str) -> None:
    shown = seen(client.post("/batches/new/look", data={"task": task, "text": "Why?"}).text)
    assert title in shown
    assert "<article" not in shown


def test_nothing_in_a_look_is_markup_of_the_form(client: TestClient, bob: User) -> None:
    attack = "<img src=x onerror=alert(1)>"
    answer = client.post("/batches/new/look", data={"name": attack, "text": attack, "guidelines": attack})
    assert "<img" not in answer.text
    assert "<img" not in seen(answer.text)


def test_a_look_is_refused_for_an_upload_or_a_field_that_is_not_there(client: TestClient, bob: User) -> None:
    assert client.post("/batches/new/look", data={"upload": "999999"}).status_code == 404
    assert client.post("/batches/new/look", data={"upload": "x"}).status_code == 404
    assert client.post("/batches/new/look", data={"state": "open"}).status_code == 422


def test_a_program_that_names_a_team_that_is_not_there_gets_no_batch(
    client: TestClient, session: Session, bob: User
) -> None:
    refused = client.post("/api/v1/batches", files=FILE, data={"settings": '{"name": "Sky", "teams": [999999999]}'})
    assert refused.status_code == 422
    assert count(session, Batch) == count(session, Upload) == 0
