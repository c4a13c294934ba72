"""Whoever has read a judgement of an item is not given the item, and nobody accepts their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import service as annotating
from app.annotations.models import Annotation
from app.comparisons import claims
from app.comparisons.models import Comparison, Purpose
from app.comparisons.purposes import Asked
from app.quality import service
from tests.factories import make_annotation, make_assignment, make_comparison, make_user, sign_in

DOORS: dict[str, Callable[[Annotation], str]] = {
    "the list": lambda _: "/review",
    "the list, filtered": lambda _: "/review?show=unreviewed",
    "the page": lambda said: f"/review/annotations/{said.id}",
    "the list of the API": lambda _: "/api/v1/review/annotations",
    "the API": lambda said: f"/api/v1/review/annotations/{said.id}",
}


@pytest.fixture(params=[Role.REVIEWER, Role.ADMIN])
def rita(session: Session, request: pytest.FixtureRequest) -> User:
    return make_user(session, request.param, "Rita")


@pytest.fixture
def reviewing(client: TestClient, rita: User) -> TestClient:
    return sign_in(client, rita)


def given(session: Session, user: User, item: Comparison) -> bool:
    return annotating.next_assignment(session, user, item.batch_id) is not None


@pytest.mark.parametrize("door", DOORS)
def test_rita_is_not_given_what_she_has_read_a_judgement_of(
    reviewing: TestClient, session: Session, rita: User, door: str
) -> None:
    item = make_comparison(session, wanted=3)
    said = make_annotation(session, make_user(session), item)
    assert reviewing.get(DOORS[door](said)).status_code == 200
    assert not given(session, rita, item)
    assert given(session, make_user(session, name="Charlie"), item), "others are"


def test_who_has_read_nothing_of_it_is_given_it(reviewing: TestClient, session: Session, rita: User) -> None:
    item, other = make_comparison(session, wanted=3), make_comparison(session, wanted=3)
    alice = make_user(session)
    make_annotation(session, alice, item)
    said = make_annotation(session, alice, other)
    reviewing.get(f"/review/annotations/{said.id}")
    assert given(session, rita, item)


@pytest.mark.parametrize("url", ["/review/gold", "/api/v1/review/gold"])
def test_who_has_read_a_known_answer_is_neither_asked_it_nor_given_its_prompt(
    reviewing: TestClient, session: Session, rita: User, url: str
) -> None:
    item = make_comparison(session, wanted=3)
    known = service.make_gold(session, make_user(session, Role.ADMIN, "Bob"), _said(session, item), "Plain.")
    session.commit()
    assert reviewing.get(url).status_code == 200
    assert claims.claim(session, rita.id, known.batch_id, Asked.KNOWN_ANSWER) is None
    assert claims.claim(session, rita.id, known.batch_id) is None


@pytest.mark.parametrize("url", ["/review/annotations/{}", "/api/v1/review/annotations/{}"])
def test_an_item_in_work_hides_every_judgement_of_its_prompt(
    reviewing: TestClient, session: Session, rita: User, url: str
) -> None:
    item = make_comparison(session, wanted=3)
    said = _said(session, item)
    known = service.make_gold(session, make_user(session, Role.ADMIN, "Bob"), said, "Plain.")
    session.commit()
    held = claims.claim(session, rita.id, item.batch_id, Asked.KNOWN_ANSWER)
    session.commit()
    assert held is not None
    assert held.comparison_id == known.id
    assert reviewing.get(url.format(said.id)).status_code == 404
    assert reviewing.get("/api/v1/review/annotations").json()["annotations"] == []
    assert reviewing.get("/api/v1/review/gold").json()["items"] == []
    assert reviewing.post(f"/api/v1/review/gold/{known.id}/retire").status_code == 404


def test_nobody_accepts_their_own(reviewing: TestClient, session: Session, rita: User) -> None:
    said = make_annotation(session, rita)
    page = reviewing.get(f"/review/annotations/{said.id}").text
    assert f"/review/annotations/{said.id}/accept" not in page
    assert "your own" in page
    assert reviewing.post(f"/review/annotations/{said.id}/accept").status_code == 409
    answer = reviewing.post(f"/api/v1/review/annotations/{said.id}/reviews", json={"verdict": "accepted"})
    assert answer.status_code == 409
    assert "your own" in answer.json()["detail"]


def test_reading_ones_own_judgement_is_no_reading(reviewing: TestClient, session: Session, rita: User) -> None:
    held = make_assignment(session, rita)
    assert held.state == "active"
    said = make_annotation(session, rita)
    for url in ("/review", f"/review/annotations/{said.id}"):
        assert reviewing.get(url).status_code == 200
    assert given(session, rita, session.get_one(Comparison, held.comparison_id))


def _said(session: Session, item: Comparison) -> Annotation:
    assert item.purpose is Purpose.COLLECT
    return make_annotation(session, make_user(session), item)
