"""What is said while somebody qualifies: after each answer, on the pages where work starts, and to nobody else."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service
from app.annotations.models import Annotation
from app.annotations.queries import visible_batches
from app.batches.queries import batch_progress
from app.comparisons.models import Assignment
from app.prompts.models import Batch, PromptState
from app.quality import service as quality
from tests.factories import make_annotation, make_batch, make_comparison, make_prompt, make_user, sign_in

RIGHT, WRONG = "Your answer was right", "Your answer differs from the known answer"


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def batch(session: Session, bob: User) -> Batch:
    """Two known answers of which one has to be met, and one real item."""
    batch = make_batch(session, name="Careful")
    for _ in range(2):
        comparison = make_comparison(session, prompt=make_prompt(session, batch, state=PromptState.READY))
        quality.make_gold(session, bob, make_annotation(session, bob, comparison), "The *first* is true.")
    make_comparison(session, prompt=make_prompt(session, batch, state=PromptState.READY))
    batch.qualification_items, batch.qualification_percent = 2, 50
    session.commit()
    return batch


def submit(client: TestClient, session: Session, user: User, *, right: bool, htmx: bool = True) -> str:
    """Judge the next item in the browser; the page that answers."""
    client.post("/annotate")
    held = service.next_assignment(session, user)
    assert held is not None
    shown = session.get_one(Assignment, held.id).order_shown
    best = "AB"[shown.index(min(shown) if right else max(shown))]
    data = {
        "fencing_token": str(held.fencing_token),
        "key": f"qualifying-{held.id}",
        "draft_version": "0",
        "choice": f"{best}3",
    }
    headers = {"hx-request": "true"} if htmx else {}
    answer = client.post(f"/assignments/{held.id}/submit", data=data, headers=headers)
    return answer.text if htmx else client.get(answer.headers["location"]).text


def test_each_answer_is_explained_before_the_next_item(
    client: TestClient, session: Session, alice: User, batch: Batch
) -> None:
    sign_in(client, alice)
    assert "Starts with a qualification: 0 of 2 answered" in client.get("/annotate").text
    assert ">qualification<" in client.get("/").text
    page = submit(client, session, alice, right=False)
    assert WRONG in page
    assert "<em>first</em> is true" in page
    assert 'id="judge"' in page, "the next item is there"
    assert "data-undo" not in page, "it counts as it was given"
    page = submit(client, session, alice, right=True)
    assert RIGHT in page
    assert "You are qualified." in page
    page = submit(client, session, alice, right=True)
    assert "feedback-head" not in page, "real work is not explained"
    assert "data-undo" in page


def test_without_scripts_it_is_on_the_next_page(
    client: TestClient, session: Session, alice: User, batch: Batch
) -> None:
    sign_in(client, alice)
    assert WRONG in submit(client, session, alice, right=False, htmx=False)
    page = submit(client, session, alice, right=False, htmx=False)
    assert WRONG in page
    assert "Qualification for Careful: 2 of 2 answered, 0 right." in page
    assert "You did not pass." in page
    assert "a qualification that you did not pass: 0 of 2" in page
    assert "You did not pass this batch's qualification." in client.get("/").text
    assert [each.waiting for each in visible_batches(session, alice)] == [0]


def test_nobody_reads_what_was_said_to_another(client: TestClient, session: Session, alice: User, batch: Batch) -> None:
    sign_in(client, alice)
    submit(client, session, alice, right=True)
    said = session.query(Annotation).filter_by(annotator_id=alice.id).one()
    item = client.get("/annotate").headers["location"]
    assert RIGHT in client.get(f"{item}?feedback={said.id}").text
    charlie = make_user(session, name="Charlie")
    page = sign_in(client, charlie).get(f"/annotate?feedback={said.id}").text
    assert "feedback-head" not in page


def test_a_batch_with_too_few_known_answers_says_so_to_everybody(
    client: TestClient, session: Session, alice: User, bob: User, batch: Batch
) -> None:
    batch.qualification_items = 5
    session.commit()
    page = sign_in(client, alice).get("/annotate").text
    assert "is not ready for you" in page
    assert 'action="/annotate"' not in page
    assert "an admin must first add items" in client.get("/").text
    page = sign_in(client, bob).get(f"/batches/{batch.id}").text
    assert re.search(r"takes 5 known answers, and this batch has\s+2", page)


def test_known_answers_are_no_part_of_a_batchs_progress(session: Session, bob: User, batch: Batch) -> None:
    progress = batch_progress(session, [batch.id])[batch.id]
    assert (progress.comparisons, progress.done) == (3, 2)
    assert (progress.annotations, progress.annotations_wanted, progress.known_answers) == (2, 3, 2)


def test_programs_are_told_the_same(client: TestClient, session: Session, alice: User, batch: Batch) -> None:
    sign_in(client, alice)
    item = client.post("/api/v1/annotate/next").json()
    item = item.get("assignment", item)
    shown = session.get_one(Assignment, item["id"]).order_shown
    best, other = ("A", "B") if shown[0] == min(shown) else ("B", "A")
    body = {
        "fencing_token": item["fencing_token"],
        "outcome": "ranked",
        "ranking": [[other], [best]],
        "strengths": [3],
    }
    url, headers = f"/api/v1/assignments/{item['id']}/submit", {"idempotency-key": "told"}
    for _ in range(2):
        told = client.post(url, json=body, headers=headers).json()["feedback"]
        assert (told["right"], told["answered"], told["state"]) == (False, 1, "answering")
        assert told["known"] == f"response {best} is best"
        assert "<em>first</em>" in told["explanation"]
