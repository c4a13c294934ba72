"""Bob adds prompts to a batch that people work on: what it has is skipped, names stay free, and a batch that was done goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Role, User
from app.annotations import recording
from app.annotations import service as annotating
from app.batches import appending
from app.candidates import service as candidates
from app.candidates.models import Candidate
from app.comparisons.models import Comparison, Purpose
from app.comparisons.service import create_comparison
from app.kernel.errors import BadInput, Conflict
from app.kernel.jobs import Job
from app.prompts.import_forms import AppendSettings
from app.prompts.models import Batch, BatchKind, BatchState, Prompt, PromptState, Upload
from app.registry.models import Deployment
from app.upkeep.audit import audit
from app.webhooks import occasions
from app.webhooks.models import Delivery, Webhook
from tests.annotations.test_concurrency import at_once, tie
from tests.factories import (
    make_annotation,
    make_batch,
    make_comparison,
    make_deployment,
    make_prompt,
    make_user,
    make_writing,
)
from tests.prompts.pages import jsonl
from tests.prompts.test_upkeep import OBJECT, changed, stored_then
from training.formats.prompts import content_hash

ANSWERED = {"prompt": "Six?", "responses": [{"text": "6", "model": "a"}, {"text": "VI", "model": "b"}]}


def add(session: Session, bob: User, batch: Batch, *records: object, **settings: Any) -> tuple[int, int]:
    made = appending.append(session, bob, batch, "more.jsonl", jsonl(*records), AppendSettings(**settings))
    session.commit()
    return made.added, made.skipped


def ids(session: Session, batch: Batch) -> list[str]:
    return list(
        session.scalars(select(Prompt.external_id).where(Prompt.batch_id == batch.id).order_by(Prompt.external_id))
    )


def post(client: TestClient, batch_id: int, content: bytes, who: dict[str, str], **settings: Any) -> Any:
    fields = {"settings": json.dumps(settings)} if settings else {}
    url = f"/api/v1/batches/{batch_id}/prompts"
    return client.post(url, files={"file": ("x.jsonl", content)}, data=fields, headers=who)


@pytest.fixture
def token(session: Session, bob: User) -> dict[str, str]:
    secret = accounts.create_token(session, bob, "script", ["admin"])
    session.commit()
    return {"authorization": f"Bearer {secret}"}


def test_what_the_batch_has_is_skipped_and_the_rest_waits_for_responses(
    session: Session, bob: User, rung: list[Job]
) -> None:
    batch = make_batch(session)
    assert add(session, bob, batch, {"prompt": "One?"}, {"prompt": "Two?"}) == (2, 0)
    assert add(session, bob, batch, {"prompt": "Two?", "id": "other"}, {"prompt": "Three?"}) == (1, 1)
    assert set(session.scalars(select(Prompt.state))) == {PromptState.PENDING}
    assert rung == [Job.GENERATE, Job.DETECT_LANGUAGES] * 2
    assert add(session, bob, batch, {"prompt": "One?"}) == (0, 1)
    assert rung == [Job.GENERATE, Job.DETECT_LANGUAGES] * 2, "nothing is new"
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "batch.append")).all()
    assert [(event.details["prompts"], event.details["skipped"]) for event in events] == [(2, 0), (1, 1)]


def test_names_after_lines_stay_free_and_a_given_one_is_never_changed(session: Session, bob: User) -> None:
    batch = make_batch(session)
    add(session, bob, batch, {"prompt": "One?"}, {"id": "two", "prompt": "Two?"})
    add(session, bob, batch, {"prompt": "Three?"}, {"prompt": "Four?"}, {"id": "line-2-4", "prompt": "Five?"})
    assert ids(session, batch) == ["line-1", "line-1-3", "line-2", "line-2-4", "two"]
    add(session, bob, batch, {"prompt": "Six?"}, {"prompt": "Seven?"})
    assert ids(session, batch)[-3:] == ["line-2-4", "line-2-5", "two"], "the next free one"
    with pytest.raises(BadInput) as caught:
        add(session, bob, batch, {"prompt": "Eight?"}, {"id": "two", "prompt": "Nine?"})
    said = 'has the id "two" of another prompt of this batch: give it an id of its own'
    assert caught.value.extra["errors"] == [{"line": 2, "reason": said}]
    session.rollback()
    assert len(ids(session, batch)) == 7, "all of a file or nothing"
    assert add(session, bob, batch, {"prompt": "Eight?"}, {"id": "two", "prompt": "Nine?"}, leave_out_refused=True) == (
        1,
        0,
    )


def test_what_is_refused_is_named_by_line_beside_what_is_there_already(session: Session, bob: User) -> None:
    batch = make_batch(session)
    add(session, bob, batch, {"prompt": "One?"})
    with pytest.raises(BadInput, match="1 line is refused"):
        add(session, bob, batch, {"prompt": "One?"}, {"prompt": ""})
    session.rollback()
    assert add(session, bob, batch, {"prompt": "One?"}, {"prompt": ""}, leave_out_refused=True) == (0, 1)
    with pytest.raises(BadInput, match="no valid prompt"):
        add(session, bob, batch, {"prompt": ""})


@pytest.mark.parametrize(("state", "kind"), [("closed", "prompts"), ("open", "dialogue")])
def test_a_closed_batch_and_one_of_dialogues_take_none(session: Session, bob: User, state: str, kind: str) -> None:
    batch = make_batch(session, state=BatchState(state))
    batch.kind = BatchKind(kind)
    session.commit()
    with pytest.raises(Conflict, match="as a new batch"):
        add(session, bob, batch, {"prompt": "One?"})


def test_a_prompt_that_is_stored_under_an_earlier_name_is_known(session: Session, bob: User) -> None:
    first, second = make_batch(session), make_batch(session)
    old = stored_then(session, first, OBJECT)
    assert changed(session) == 1
    canonical = content_hash(old.messages)
    assert old.content_hash != canonical
    row = {"messages": old.messages}
    assert add(session, bob, first, row) == (0, 1)
    assert add(session, bob, second, row, {"prompt": "One?"}) == (2, 0)
    assert old.content_hash in session.scalars(select(Prompt.content_hash).where(Prompt.batch_id == second.id)).all()
    assert add(session, bob, second, row) == (0, 1), "it has the earlier name, and no row of its own that says so"


def test_responses_that_come_with_them_are_items_at_once(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session, annotators_per_prompt=2)
    assert add(session, bob, batch, ANSWERED, {"prompt": "Seven?"}) == (2, 0)
    assert add(session, bob, batch, {**ANSWERED, "prompt": "Eight?"}) == (1, 0)
    items = session.scalars(select(Comparison)).all()
    assert [(item.annotators_wanted, item.seats_free) for item in items] == [(2, 2)] * 2
    assert session.scalar(select(func.count()).select_from(Candidate)) == 4
    assert "Responses from the file" in client.get(f"/batches/{batch.id}").text
    upload = session.scalars(select(Upload)).one()
    assert (upload.report["responses"]["count"], upload.content) == (4, b"")
    assert not audit(session, files=False)


def test_where_people_write_only_the_new_prompts_are_asked(session: Session, bob: User) -> None:
    batch = session.get_one(Batch, make_writing(session, "One?")[0].batch_id)
    assert add(session, bob, batch, {"prompt": "Two?"}) == (1, 0)
    assert session.execute(select(Comparison.purpose, func.count()).group_by(Comparison.purpose)).all() == [
        (Purpose.WRITE, 2)
    ]
    with pytest.raises(BadInput, match="where people write the answer nobody is shown any"):
        add(session, bob, batch, ANSWERED)


def test_the_capability_is_that_of_all_prompts_or_none(session: Session, bob: User) -> None:
    batch = make_batch(session)
    batch.capability = "maths"
    session.commit()
    add(session, bob, batch, {"prompt": "One?", "capability": "maths"})
    assert batch.capability == "maths"
    add(session, bob, batch, {"prompt": "Two?"})
    assert batch.capability is None


def test_a_batch_that_was_done_and_got_more_is_told_of_again(session: Session, bob: User) -> None:
    earlier = func.now() - func.make_interval(0, 0, 0, 1)
    values = {"occasions": ["batch.done"], "created_by_id": bob.id, "created_at": earlier}
    session.add(Webhook(url="https://example.org/", secret="s", **values))
    session.commit()
    (item,) = make_writing(session, "One?")
    batch = session.get_one(Batch, item.batch_id)
    alice = make_user(session)

    def told() -> list[int]:
        occasions.find(session)
        session.commit()
        return list(session.scalars(select(Delivery.turn).order_by(Delivery.id)))

    make_annotation(session, alice, item)
    assert told() == told() == [0]
    assert add(session, bob, batch, {"prompt": "Two?"}) == (1, 0)
    assert told() == [0], "it is not done any more"
    make_annotation(session, alice, session.scalars(select(Comparison).order_by(Comparison.id.desc()).limit(1)).one())
    assert told() == told() == [0, 1]


# ── The API ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_program_adds_prompts_once(client: TestClient, session: Session, token: dict[str, str]) -> None:
    batch = make_batch(session)
    make_prompt(session, batch)
    who = token | {"idempotency-key": "one"}
    content = jsonl({"prompt": "One?"}, {"prompt": "Two?"})
    first, again = post(client, batch.id, content, who), post(client, batch.id, content, who)
    assert first.status_code == 200, first.text
    assert (first.json()["added"], first.json()["skipped"], first.json()["left_out"]) == (2, 0, [])
    assert first.json()["batch"]["progress"]["prompts"] == 3
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert post(client, batch.id, content, token).json()["skipped"] == 2
    bad = post(client, batch.id, jsonl({"prompt": ""}, {"prompt": "Three?"}), token)
    assert (bad.status_code, bad.json()["errors"][0]["line"]) == (422, 1)
    left_out = post(client, batch.id, jsonl({"prompt": ""}, {"prompt": "Three?"}), token, leave_out_refused=True)
    assert (left_out.json()["added"], left_out.json()["left_out"][0]["line"]) == (1, 1)
    assert post(client, batch.id, content, token, name="New").status_code == 422, "no setting of this"
    assert post(client, 999, content, token).status_code == 404
    client.post(f"/api/v1/batches/{batch.id}/state", json={"state": "closed"}, headers=token)
    assert post(client, batch.id, jsonl({"prompt": "Four?"}), token).status_code == 409


def test_only_admins_add_prompts(client: TestClient, session: Session) -> None:
    batch = make_batch(session)
    for role, scopes in ((Role.ADMIN, ["read"]), (Role.REVIEWER, ["read"]), (Role.ANNOTATOR, ["annotate", "read"])):
        secret = accounts.create_token(session, make_user(session, role, "Charlie"), "script", scopes)
        session.commit()
        answer = post(client, batch.id, jsonl({"prompt": "One?"}), {"authorization": f"Bearer {secret}"})
        assert answer.status_code == 403, role
    assert ids(session, batch) == []


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def held(client: TestClient, batch: Batch, *records: object) -> str:
    sent = {"file": ("x.jsonl", jsonl(*records))}
    answer = client.post(f"/batches/{batch.id}/prompts/preview", files=sent)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_bob_sees_what_a_file_would_add_and_adds_it(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session)
    add(session, bob, batch, {"prompt": "Zero?"})
    url = f"/batches/{batch.id}/prompts"
    assert f'href="{url}/new"' in client.get(f"/batches/{batch.id}").text
    assert f'action="{url}/preview"' in client.get(f"{url}/new").text
    assert client.post(f"{url}/preview", files={"file": ("x.pdf", b"x")}).status_code == 422

    page = held(client, batch, {"prompt": "Zero?"}, {"prompt": "One?"}, {"prompt": ""}, {"prompt": "Two?"})
    shown = client.get(page).text
    assert "2 new prompts are added to this batch, 1 that it has already is skipped, and 1 line is left out" in shown
    assert ">1 refused line<" in shown
    assert "One?" in shown
    assert "Zero?" not in shown
    assert len(ids(session, batch)) == 1, "nothing is added yet"
    assert "more prompts for a batch" in client.get("/batches").text
    said = {"upload": page.rpartition("/")[2]}
    wrong = client.post(url, data=said)
    assert (wrong.status_code, "1 line is refused" in wrong.text) == (422, True)
    added = client.post(url, data=said | {"leave_out_refused": "true"}, follow_redirects=True)
    assert "2 prompts added; 1 prompt skipped" in added.text
    assert "1 line left out. Their responses are being generated." in added.text
    again = client.post(url, data=said | {"leave_out_refused": "true"}, follow_redirects=True)
    assert "nothing was added now" in again.text
    assert (len(ids(session, batch)), session.scalar(select(func.count()).select_from(Upload))) == (3, 0)


def test_a_file_that_is_held_for_a_batch_is_for_it_alone(client: TestClient, session: Session, bob: User) -> None:
    batch, other = make_batch(session), make_batch(session)
    page = held(client, batch, {"prompt": "One?"})
    number = page.rpartition("/")[2]
    assert client.post(f"{page}/confirm", data={"name": "New"}).status_code == 409
    assert (
        "nothing was added now"
        in client.post(f"/batches/{other.id}/prompts", data={"upload": number}, follow_redirects=True).text
    )
    for wrong in ("", "x", "9" * 30):
        assert client.post(f"/batches/{batch.id}/prompts", data={"upload": wrong}).status_code == 404
    assert client.post(f"/batches/{batch.id}/prompts", data={"upload": number, "name": "x"}).status_code == 422
    assert client.post(f"{page}/discard").headers["location"] == f"/batches/{batch.id}"
    assert ids(session, batch) == ids(session, other) == []


def test_a_closed_batch_takes_no_file_and_none_that_was_held(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session)
    url = f"/batches/{batch.id}/prompts"
    number = held(client, batch, {"prompt": "One?"}).rpartition("/")[2]
    known = held(client, batch, {"prompt": "One?"})
    assert client.post(url, data={"upload": number}).status_code == 303
    assert "Add 1 prompt" in client.get(known).text, "as it was when the file was sent"
    said = client.post(url, data={"upload": known.rpartition("/")[2]}, follow_redirects=True).text
    assert "Nothing added; 1 prompt skipped, because the batch has the same content already." in said
    late = held(client, batch, {"prompt": "Two?"}).rpartition("/")[2]
    batch.state = BatchState.CLOSED
    session.commit()
    assert f'href="{url}/new"' not in client.get(f"/batches/{batch.id}").text
    assert client.post(url, data={"upload": late}).status_code == 409
    assert client.post(f"{url}/preview", files={"file": ("x.jsonl", jsonl({"prompt": "Two?"}))}).status_code == 409


def test_a_program_asks_what_a_file_would_add(client: TestClient, session: Session, token: dict[str, str]) -> None:
    batch = make_batch(session)
    url = f"/api/v1/batches/{batch.id}/prompts/preview"
    rows = jsonl(ANSWERED, {"prompt": "Seven?"}, {"prompt": " "}, {"prompt": "  "})
    assert post(client, batch.id, jsonl({"prompt": "Seven?"}), token).status_code == 200
    said = client.post(url, files={"file": ("x.jsonl", rows)}, headers=token).json()
    assert (said["new"], said["known"], said["refused"], [each["line"] for each in said["left_out"]]) == (
        1,
        1,
        2,
        [3, 4],
    )
    assert [each["count"] for each in said["left_out_by_reason"]] == [2]
    assert said["responses"]["models"] == {"a": 1, "b": 1}
    assert [(each["line"], each["messages"][0]["content"]) for each in said["first"]] == [(1, "Six?")]
    assert ids(session, batch) == ["line-1"]
    assert client.post(url, files={"file": ("x.pdf", rows)}, headers=token).status_code == 422


# ── Beside work ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_prompts_are_added_while_workers_claim_and_people_judge(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        people = [make_user(session), make_user(session, name="Rita")]
        batch, source = make_batch(session), make_deployment(session)
        for _ in range(4):
            make_comparison(session, batch=batch)
            make_prompt(session, batch)

    def generate(session: Session) -> int:
        claims = candidates.claim_prompts(session, 2)
        session.commit()
        for claim in claims:
            samples = [sampled(source, text) for text in ("a", "b")]
            assert candidates.record_candidates(session, claim, samples)
            create_comparison(session, session.get_one(Prompt, claim.prompt_id))
            session.commit()
        return len(claims)

    def act(session: Session, index: int) -> int:
        if index < 2:
            rows = [ANSWERED, {"prompt": "Seven?"}, {"prompt": f"Number {index}?"}]
            return appending.append(
                session, bob, session.get_one(Batch, batch.id), "x.jsonl", jsonl(*rows), AppendSettings()
            ).added
        return generate(session) if index < 4 else judge(session, people[index - 4], batch)

    first, second, one, other, *judged = at_once(committed, 6, act)
    assert {first, second} == {3, 1}, "whoever came second found what the first had added"
    assert 0 < one + other <= 4
    assert judged == [1, 1]
    with Session(committed) as session:
        assert session.scalar(select(func.count()).select_from(Prompt)) == 12
        assert len(set(ids(session, session.get_one(Batch, batch.id)))) == 12
        assert not audit(session, files=False)


def sampled(source: Deployment, text: str) -> candidates.SampledText:
    return candidates.SampledText(
        source.checkpoint_id, source.id, text, "stop", 1, 1, {"model": "zebra-base"}, "fake-1"
    )


def judge(session: Session, user: User, batch: Batch) -> int:
    held = annotating.next_assignment(session, user, batch.id)
    assert held is not None
    session.commit()
    recording.submit(session, user, held.id, tie(held), f"{user.id}-{held.id}")
    return 1
