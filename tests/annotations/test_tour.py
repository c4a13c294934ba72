"""The tour: three examples whose answers are discussed, without a script, and nothing of it is kept but that it is finished."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import queries, service, tour
from app.annotations.models import Annotation
from app.annotations.tour_items import EXAMPLES
from app.annotations.tour_views import answers
from app.comparisons.models import Assignment
from app.prompts.models import Batch
from tests.factories import make_annotation, make_batch, make_comparison, make_user, sign_in


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    """Alice, signed in."""
    user = make_user(session)
    sign_in(client, user)
    return user


def requiring(session: Session) -> Batch:
    """An open batch with one item that begins with the tour."""
    batch = make_batch(session)
    batch.requires_tour = True
    make_comparison(session, batch=batch)
    return batch


def test_the_examples_show_a_wrong_answer_a_tie_and_an_edit() -> None:
    assert [example.right[0] for example in EXAMPLES] == ["B4", "tie", "A4"]
    assert [bool(example.edited) for example in EXAMPLES] == [False, False, True]
    assert all(choice in answers() for example in EXAMPLES for choice in example.right)


@pytest.mark.usefixtures("alice")
def test_each_answer_is_discussed_beside_what_was_said(client: TestClient) -> None:
    assert client.get("/tour").headers["location"] == "/tour/1"
    first = client.get("/tour/1").text
    assert "1900" in first
    assert "not complete" not in first, "discussed after the answer"
    other = client.post("/tour/1", data={"choice": "A4"}).text
    assert "We would say something else" in other
    assert "You said: A is significantly better." in other
    assert "not complete" in other
    assert 'href="/tour/2"' in other
    assert "We would say the same" in client.post("/tour/2", data={"choice": "tie"}).text
    edited = client.post("/tour/3", data={"choice": "A4", "edited": "It is <b>blue</b>."}).text
    assert "Our edit" in edited
    assert "&lt;b&gt;blue" in edited
    assert 'action="/tour/finish"' in edited
    for number in (0, 4):
        assert client.get(f"/tour/{number}").status_code == 404
    for choice in ("", "A9"):
        refused = client.post("/tour/3", data={"choice": choice, "edited": "what I typed"})
        assert (refused.status_code, "what I typed" in refused.text) == (422, True)


def test_only_that_it_was_finished_is_kept(client: TestClient, session: Session, alice: User) -> None:
    for number in (1, 2, 3):
        client.post(f"/tour/{number}", data={"choice": "A4", "edited": "x"})
    session.refresh(alice)
    assert alice.toured_at is None
    assert client.post("/tour/finish").headers["location"] == "/annotate"
    session.refresh(alice)
    finished = alice.toured_at
    assert finished is not None
    client.post("/tour/finish")
    session.refresh(alice)
    assert alice.toured_at == finished
    for table in (Annotation, Assignment):
        assert session.scalar(select(func.count()).select_from(table)) == 0


def test_it_is_offered_on_the_first_visit(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    first, _ = (make_comparison(session, batch=batch) for _ in range(2))
    assert "Take the tour" in client.get("/annotate").text
    make_annotation(session, alice, first)
    assert "Take the tour" not in client.get("/annotate").text


def test_a_batch_that_requires_it_gives_nothing_before(client: TestClient, session: Session, alice: User) -> None:
    batch = requiring(session)
    assert service.next_assignment(session, alice) is None
    assert "Starts with a tour of three examples" in client.get("/annotate").text
    assert client.post("/annotate", data={"batch": batch.id}).headers["location"] == f"/tour?batch={batch.id}"
    refused = client.post("/api/v1/annotate/next", json={"batch_id": batch.id})
    assert (refused.status_code, "/tour" in refused.text) == (409, True)
    assert client.post("/api/v1/annotate/next", json={}).status_code == 204
    last = client.post(f"/tour/3?batch={batch.id}", data={"choice": "A4"}).text
    assert f'action="/tour/finish?batch={batch.id}"' in last
    assert client.post(f"/tour/finish?batch={batch.id}").headers["location"] == f"/annotate?batch={batch.id}"
    assert client.post("/annotate", data={"batch": batch.id}).headers["location"].startswith("/assignments/")


def test_who_has_an_item_goes_on_with_it_when_the_batch_comes_to_require_it(session: Session, alice: User) -> None:
    batch = requiring(session)
    batch.requires_tour = False
    session.commit()
    held = service.next_assignment(session, alice)
    assert held is not None
    batch.requires_tour = True
    session.commit()
    again = service.next_assignment(session, alice)
    assert again is not None
    assert again.id == held.id
    (seen,) = queries.visible_batches(session, alice)
    assert (seen.tour_first, seen.begun) == (True, 1)


def test_others_batches_and_those_who_finished_are_not_asked(session: Session, alice: User) -> None:
    batch = requiring(session)
    assert tour.awaits(session, alice, batch.id)
    assert not tour.awaits(session, alice, None)
    assert not tour.awaits(session, alice, make_batch(session).id)
    tour.finish(session, alice)
    assert not tour.awaits(session, alice, batch.id)
