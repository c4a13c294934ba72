"""Bob imports prompts whose answers people write: no model is asked, and whoever comes can write at once."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as annotating
from app.candidates import service as ledger
from app.comparisons.models import Comparison, Purpose
from app.prompts.models import Batch, BatchState, BatchTask
from tests.factories import make_annotation, make_user, make_writing
from tests.prompts.pages import jsonl, upload
from tests.prompts.test_api import headers, post

FIELDS = {"name": "Essays", "task": "write", "annotators_per_prompt": "2", "overlap_percent": "100", "language": "de"}


def test_a_file_becomes_items_to_write_at_once(client: TestClient, session: Session, bob: User) -> None:
    page = upload(client, jsonl({"prompt": "Why?"}, {"prompt": "Pourquoi ?", "language": "fr"}))
    assert "write the answer from scratch" in client.get(page).text
    for _ in range(2):  # a second click finds the batch that the first one made
        assert client.post(f"{page}/confirm", data=FIELDS).status_code == 303
    batch = session.scalars(select(Batch)).one()
    items = session.scalars(select(Comparison).order_by(Comparison.prompt_id)).all()
    assert batch.task is BatchTask.WRITE
    assert [(item.purpose, item.language, item.seats_free) for item in items] == [
        (Purpose.WRITE, "de", 2),
        (Purpose.WRITE, "fr", 2),
    ]
    assert not ledger.work_is_due(session)
    assert ledger.claim_prompts(session, 9) == []
    alice = make_user(session)
    assert annotating.next_assignment(session, alice, batch.id) is None, "it is not open yet"
    client.post(f"/batches/{batch.id}/open")
    session.expire_all()
    assert annotating.next_assignment(session, alice, batch.id) is not None


def test_the_page_of_the_batch_speaks_of_answers(client: TestClient, session: Session, bob: User) -> None:
    items = make_writing(session, "Why?", "How?")
    make_annotation(session, make_user(session), items[0])
    page = client.get(f"/batches/{items[0].batch_id}").text
    assert "write the answer from scratch" in page
    assert 'aria-label="Prompts answered"' in page
    for words in ("Responses ready", "Responses per prompt", "Edits verified", "Temperature", 'name="gold_percent"'):
        assert words not in page, words
    assert "People write the answer to this prompt" in client.get(f"/prompts/{items[0].prompt_id}").text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attributes", [{"name": "helpful", "label": "Helpful", "scale": ["no", "yes"]}]),
        ("verify_percent", 5),
        ("gold_percent", 5),
        ("qualification_items", 2),
    ],
)
def test_what_is_about_responses_is_refused(client: TestClient, session: Session, field: str, value: Any) -> None:
    bob = headers(session, Role.ADMIN, ["admin"])
    refused = post(client, bob, task="write", **{field: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == f"settings.{field}"
    made = post(client, bob, task="write").json()
    assert (made["task"], made["progress"]["comparisons"], made["progress"]["ready"]) == ("write", 2, 2)
    later = client.patch(f"/api/v1/batches/{made['id']}", json={field: value}, headers=bob)
    assert (later.status_code, "People write the answers here" in later.json()["detail"]) == (409, True)
    assert client.patch(f"/api/v1/batches/{made['id']}", json={"required": []}, headers=bob).status_code == 200


def test_it_is_decided_when_the_prompts_are_imported(client: TestClient, session: Session) -> None:
    bob = headers(session, Role.ADMIN, ["admin"])
    made = post(client, bob).json()
    assert made["task"] == "compare"
    assert client.patch(f"/api/v1/batches/{made['id']}", json={"task": "write"}, headers=bob).status_code == 422
    assert session.scalars(select(Batch.state)).one() is BatchState.PREPARING
