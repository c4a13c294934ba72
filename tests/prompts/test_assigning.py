"""Whom a batch is assigned to, on its page and in JSON, and what annotators are told of it."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import AuditEvent, Role, Team, User
from app.dialogues.models import DialogueSeed
from app.prompts.models import Batch, BatchKind, BatchPerson, Priority
from tests.factories import current_round, make_batch, make_comparison, make_prompt, make_user, sign_in


@pytest.fixture(autouse=True)
def _follows(client: TestClient) -> None:
    client.follow_redirects = True


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def night(session: Session, bob: User, alice: User) -> Team:
    team = teams.create(session, bob, "Night shift", [alice.id])
    session.commit()
    return team


@pytest.fixture
def batch(session: Session) -> Batch:
    batch = make_batch(session, name="Everyday questions")
    make_comparison(session, batch=batch, prompt=make_prompt(session, batch))
    return batch


def test_two_acts_on_the_page_of_a_batch_assign_it_to_a_team(
    client: TestClient, session: Session, bob: User, night: Team, batch: Batch
) -> None:
    page = sign_in(client, bob).get(f"/batches/{batch.id}").text
    form = page[page.index('aria-labelledby="assign-head"') :]
    sent = re.findall(r'name="(\w+)"', form[: form.index("</form>")])
    assert {"teams", "people", "barred", "priority", "deadline", "quota", "readers_only"} == set(sent)

    answer = client.post(f"/batches/{batch.id}/assign", data={"teams": [night.id], "priority": "normal"})
    assert "“Everyday questions” is assigned to Night shift." in answer.text
    session.refresh(batch)
    assert batch.assigned_only
    [event] = session.scalars(select(AuditEvent).where(AuditEvent.action == "batch.assign"))
    assert event.details["after"] == {"teams": [night.id], "people": [], "barred": []}

    answer = client.post(f"/batches/{batch.id}/assign", data={"priority": "high", "deadline": "", "quota": ""})
    assert "Everybody gets items" in answer.text
    session.refresh(batch)
    assert (batch.assigned_only, batch.priority) == (False, Priority.HIGH)


def test_a_batch_that_nobody_gets_is_not_given_to_everybody_by_saving_its_form(
    client: TestClient, session: Session, bob: User, night: Team, batch: Batch
) -> None:
    sign_in(client, bob).post(f"/batches/{batch.id}/assign", data={"teams": [night.id]})
    client.post(f"/teams/{night.id}/delete")
    assert "Nobody gets items" in client.post(f"/batches/{batch.id}/assign", data={"priority": "high"}).text
    session.refresh(batch)
    assert batch.assigned_only
    assert "Everybody gets" in client.post(f"/batches/{batch.id}/assign", data={"everybody": "true"}).text
    session.refresh(batch)
    assert not batch.assigned_only


def test_the_deadline_is_typed_and_shown_in_the_time_zone_of_the_reader(
    client: TestClient, session: Session, bob: User, alice: User, batch: Batch
) -> None:
    sign_in(client, bob).cookies.set("zone", "Asia/Tokyo")
    client.post(f"/batches/{batch.id}/assign", data={"deadline": "2026-01-02T09:30"})
    session.refresh(batch)
    assert batch.deadline is not None
    assert batch.deadline.isoformat() == "2026-01-02T00:30:00+00:00"
    page = client.get(f"/batches/{batch.id}").text
    assert 'value="2026-01-02T09:30"' in page
    assert "Time zone: Asia/Tokyo" in page
    assert "overdue" in page
    assert "overdue" in client.get("/batches").text
    assert client.get(f"/api/v1/batches/{batch.id}").json()["overdue"] is True

    sign_in(client, alice)
    for path in ("/", "/annotate"):
        assert "was due" in client.get(path).text, path


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("deadline", "tomorrow", "Give a day and a time"),
        ("deadline", "0001-01-01T00:00", "1970"),
        ("quota", "0", "greater than or equal to 1"),
        ("quota", "many", "valid integer"),
        ("priority", "urgent", "&#39;low&#39;"),
        ("teams", str(10**9), "no team with the number"),
        ("people", str(10**9), "nobody with the number"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_saved(
    client: TestClient, session: Session, bob: User, batch: Batch, field: str, value: str, said: str
) -> None:
    answer = sign_in(client, bob).post(f"/batches/{batch.id}/assign", data={"quota": "7", field: value})
    assert answer.status_code == 422
    if field != "teams":  # with no team there is no field for it
        assert said in answer.text
    session.refresh(batch)
    assert (batch.quota, batch.deadline, batch.assigned_only) == (None, None, False)


def test_who_is_assigned_cannot_be_barred_at_once(client: TestClient, bob: User, alice: User, batch: Batch) -> None:
    answer = sign_in(client, bob).post(f"/batches/{batch.id}/assign", data={"people": [alice.id], "barred": [alice.id]})
    assert (answer.status_code, "Alice cannot be assigned and barred" in answer.text) == (422, True)


def test_an_annotator_reads_why_there_is_nothing_and_not_who_has_it(
    client: TestClient, session: Session, bob: User, alice: User, batch: Batch
) -> None:
    rita = make_user(session, name="Rita Reyes")
    team = teams.create(session, bob, "Owls of the north", [rita.id])
    session.commit()
    sign_in(client, alice)
    assert "Everyday questions" in client.get("/").text
    sign_in(client, bob).patch(f"/api/v1/batches/{batch.id}", json={"teams": [team.id], "barred": [alice.id]})

    sign_in(client, alice)
    told = [client.get(path) for path in ("/", "/annotate", f"/annotate?batch={batch.id}")]
    told.append(client.post("/annotate", data={"batch": batch.id}))
    for answer in told:
        assert "Nothing is assigned to you now" in answer.text
    told += [
        client.get(f"/batches/{batch.id}/guidelines"),
        client.get(f"/api/v1/batches/{batch.id}/guidelines"),
        client.post("/api/v1/annotate/next", json={"batch_id": batch.id}),
        client.post("/api/v1/annotate/next", json={}),
        client.get("/api/v1/dialogues"),
        client.get("/queues/pending"),
    ]
    assert [answer.status_code for answer in told[4:8]] == [404, 404, 204, 204]
    for answer in told:
        for secret in ("Owls", "Reyes", "Everyday questions"):
            assert secret not in answer.text, str(answer.url)
    assert client.get(f"/api/v1/batches/{batch.id}").status_code in {403, 404}


def test_reviewers_know_by_pseudonym_alone_who_is_assigned(
    client: TestClient, session: Session, bob: User, alice: User, batch: Batch
) -> None:
    alice.name = "Alice Liddell"
    session.commit()
    sign_in(client, bob).patch(f"/api/v1/batches/{batch.id}", json={"people": [alice.id], "barred": [bob.id]})
    assert "Alice Liddell" in client.get(f"/batches/{batch.id}").text
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    for path in (f"/batches/{batch.id}", "/batches", "/api/v1/batches", f"/api/v1/batches/{batch.id}"):
        told = client.get(path).text
        assert alice.pseudonym in told, path
        assert "Liddell" not in told, path


def test_what_an_annotator_is_given_does_not_say_to_whom_it_is_assigned(
    client: TestClient, session: Session, bob: User, alice: User, night: Team, batch: Batch
) -> None:
    rita = make_user(session, name="Rita Reyes")
    sign_in(client, bob).patch(f"/api/v1/batches/{batch.id}", json={"teams": [night.id], "barred": [rita.id]})
    sign_in(client, alice)
    item = client.post("/api/v1/annotate/next", json={})
    assert item.status_code == 200
    for answer in (item, client.get("/"), client.get(f"/assignments/{item.json()['id']}")):
        assert "Night shift" not in answer.text
        assert "Reyes" not in answer.text
        assert "barred" not in answer.text


def test_who_has_had_their_share_reads_so(client: TestClient, session: Session, bob: User, alice: User) -> None:
    batch = make_batch(session, name="Everyday questions")
    for _ in range(2):
        make_comparison(session, batch=batch, prompt=make_prompt(session, batch))
    sign_in(client, bob).patch(f"/api/v1/batches/{batch.id}", json={"quota": 1})
    sign_in(client, alice)
    item = client.post("/api/v1/annotate/next", json={}).json()
    sent = {"fencing_token": item["fencing_token"], "outcome": "tie"}
    answer = client.post(
        f"/api/v1/assignments/{item['id']}/submit?next=true", json=sent, headers={"idempotency-key": "k"}
    )
    assert (answer.status_code, answer.json()["next"]) == (200, None)
    for path in ("/", "/annotate"):
        assert "as one person may have" in client.get(path).text, path


def test_a_new_batch_may_name_all_of_it(client: TestClient, session: Session, bob: User, night: Team) -> None:
    current_round(session)
    wish = f'{{"name": "Sky", "teams": [{night.id}], "priority": "high", "quota": 9, "deadline": "2026-12-04T17:00:00+01:00"}}'
    files = {"file": ("sky.jsonl", b'{"prompt": "Why is the sky blue?"}\n', "application/x-ndjson")}
    made = sign_in(client, bob).post("/api/v1/batches", files=files, data={"settings": wish}).json()
    assert made["teams"] == [{"id": night.id, "name": "Night shift"}]
    assert (made["priority"], made["quota"], made["assigned_only"]) == ("high", 9, True)
    assert made["deadline"] == "2026-12-04T16:00:00Z"
    assert client.patch(f"/api/v1/batches/{made['id']}", json={"deadline": "2026-12-04T17:00:00"}).status_code == 422
    now = client.patch(f"/api/v1/batches/{made['id']}", json={"deadline": None, "teams": [], "quota": None}).json()
    assert (now["deadline"], now["quota"], now["assigned_only"]) == (None, None, False)


def test_dialogues_go_to_whom_they_are_assigned_and_as_many_as_the_quota_allows(
    client: TestClient, session: Session, bob: User, alice: User, night: Team
) -> None:
    rita = make_user(session, name="Rita")
    batch = make_batch(session, name="Pirates")
    batch.kind = BatchKind.DIALOGUE
    session.add_all(DialogueSeed(batch_id=batch.id, dialogues_wanted=5, seats_free=5) for _ in range(3))
    session.commit()
    sign_in(client, bob).post(f"/batches/{batch.id}/assign", data={"teams": [night.id], "quota": "1"})

    sign_in(client, rita)
    assert client.get("/api/v1/dialogues").json()["batches"] == []
    assert client.post("/api/v1/dialogues", json={"batch": batch.id}).status_code == 409
    for path in ("/", "/annotate"):
        assert "Nothing is assigned to you now" in client.get(path).text, path
    sign_in(client, alice)
    assert [each["name"] for each in client.get("/api/v1/dialogues").json()["batches"]] == ["Pirates"]
    begun = client.post("/api/v1/dialogues", json={"batch": batch.id})
    assert begun.status_code in {200, 201}, begun.text
    finished = client.post(f"/api/v1/dialogues/{begun.json()['id']}/finish", json={})
    assert finished.status_code == 200, finished.text
    assert client.post("/api/v1/dialogues", json={"batch": batch.id}).status_code == 409, "one is her share"
    assert session.scalars(select(BatchPerson)).all() == []
    refused = sign_in(client, bob).patch(f"/api/v1/batches/{batch.id}", json={"readers_only": True})
    assert refused.status_code == 409


def test_the_page_warns_where_more_people_are_asked_for_than_it_reaches(
    client: TestClient, session: Session, bob: User, alice: User, night: Team
) -> None:
    for _ in range(2):
        make_user(session)
    batch = make_batch(session, name="Three each", annotators_per_prompt=3)
    sign_in(client, bob)
    assert "no item will be complete" not in client.get(f"/batches/{batch.id}").text
    answer = client.post(f"/batches/{batch.id}/assign", data={"teams": [night.id], "priority": "normal"})
    assert "by 3 people, and it reaches 1 annotator: no item will be complete." in answer.text
    alice.disabled_at = func.now()
    session.commit()
    assert "no item will be complete" not in client.get(f"/batches/{batch.id}").text, (
        "that it reaches nobody is another thing"
    )
