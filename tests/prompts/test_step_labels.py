"""Bob imports prompts whose responses people label step by step: one response each, and nothing is compared."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.candidates import service as ledger
from app.comparisons.models import Comparison, Purpose
from app.comparisons.service import create_comparison
from app.prompts.models import Batch, BatchTask, PairSelection, Prompt, PromptState
from tests.factories import make_deployment, make_labelling, make_labels, make_user
from tests.prompts.pages import jsonl, upload
from tests.prompts.test_api import headers, post

FIELDS = {"name": "Sums", "task": "steps", "candidates_per_prompt": "4", "overlap_percent": "100", "selection": "bald"}


def sample(session: Session, text: str) -> ledger.SampledText:
    source = make_deployment(session)
    return ledger.SampledText(source.checkpoint_id, source.id, text, "stop", 7, 9, {}, "fake-1")


def test_one_response_is_asked_for_and_is_enough(client: TestClient, session: Session, bob: User) -> None:
    page = upload(client, jsonl({"prompt": "What is 2 + 2 + 1?"}))
    assert "label the steps of a response" in client.get(page).text
    assert client.post(f"{page}/confirm", data=FIELDS).status_code == 303
    batch = session.scalars(select(Batch)).one()
    assert (batch.task, batch.candidates_per_prompt, batch.overlap_percent) == (BatchTask.STEPS, 1, 0)
    (claim,) = ledger.claim_prompts(session, 9)
    assert (claim.wanted, claim.task, claim.selection) == (1, BatchTask.STEPS, PairSelection.RANDOM)
    prompt = session.scalars(select(Prompt)).one()
    assert not ledger.record_candidates(session, claim, [sample(session, " \n")])
    session.refresh(prompt)
    assert (prompt.state, prompt.last_error) == (PromptState.PENDING, ledger.STEPLESS)
    prompt.next_try_at = prompt.created_at
    session.flush()
    (claim,) = ledger.claim_prompts(session, 9)
    assert ledger.record_candidates(session, claim, [sample(session, "2 + 2 = 4\n4 + 1 = 5")])
    item = create_comparison(session, prompt)
    assert item is not None
    assert (item.purpose, item.seats_free, create_comparison(session, prompt)) == (Purpose.STEPS, 1, item)
    session.refresh(item, ["candidates"])
    assert [each.text for each in item.candidates] == ["2 + 2 = 4\n4 + 1 = 5"]


def test_the_page_of_the_batch_speaks_of_labels(client: TestClient, session: Session, bob: User) -> None:
    items = make_labelling(session, "One.\nTwo.", "Three.")
    make_labels(session, make_user(session), items[0], 1, -1)
    page = client.get(f"/batches/{items[0].batch_id}").text
    assert "label the steps of a response" in page
    assert 'aria-label="Responses labelled"' in page
    for words in ("Judged twice", "Edits verified", "Attributes", 'name="gold_percent"'):
        assert words not in page, words
    said = client.get(f"/batches/{items[0].batch_id}/progress").text
    assert 'aria-valuenow="1"' in said or "1 of 2" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attributes", [{"name": "helpful", "label": "Helpful", "scale": ["no", "yes"]}]),
        ("verify_percent", 5),
        ("gold_percent", 5),
        ("qualification_items", 2),
    ],
)
def test_what_is_about_comparing_is_refused(client: TestClient, session: Session, field: str, value: Any) -> None:
    bob = headers(session, Role.ADMIN, ["admin"])
    refused = post(client, bob, task="steps", **{field: value})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"] == f"settings.{field}"
    made = post(client, bob, task="steps").json()
    assert (made["task"], made["candidates_per_prompt"], made["progress"]["pending"]) == ("steps", 1, 2)
    later = client.patch(f"/api/v1/batches/{made['id']}", json={field: value}, headers=bob)
    assert (later.status_code, "People label steps here" in later.json()["detail"]) == (409, True)
    assert session.scalars(select(Comparison)).all() == []
