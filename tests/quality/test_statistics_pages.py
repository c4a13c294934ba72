"""The pages of the numbers: who sees which."""

from __future__ import annotations

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.quality.statistics import ENOUGH
from tests.factories import make_annotation, make_user, sign_in


def test_few_annotations_say_nothing_and_enough_do(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    make_annotation(session, alice)
    sign_in(client, alice)
    assert "too few to tell (1 of 10)" in client.get("/me/statistics").text
    for _ in range(ENOUGH - 1):
        make_annotation(session, alice)
    page = client.get("/me/statistics").text
    assert f"of {ENOUGH}; " in page, "the leanings have their interval"
    assert "<dd>12</dd>" in page, "the median of what make_annotation says"


def test_reviewers_know_people_by_pseudonym_and_admins_by_name(client: TestClient, session: Session) -> None:
    alice = make_user(session, name="Alice-of-the-tests")
    make_annotation(session, alice)
    for role, named in [(Role.REVIEWER, False), (Role.ADMIN, True)]:
        page = sign_in(client, make_user(session, role, "Rita")).get("/review/annotators").text
        assert alice.pseudonym in page
        assert ("Alice-of-the-tests" in page) is named
    assert sign_in(client, alice).get("/review/annotators").status_code == 403


def test_people_come_page_by_page(client: TestClient, session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    for user in (alice, charlie):
        make_annotation(session, user)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    page = client.get(f"/review/annotators?after={alice.id}").text
    assert charlie.pseudonym in page
    assert alice.pseudonym not in page
