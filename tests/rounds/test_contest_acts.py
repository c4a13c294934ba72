"""Bob withdraws and overrides on pages and over the API, and sees real votes as they are counted."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.loops.models import Round, RoundState, Verdict
from app.rounds import contests
from app.rounds.models import Contest, ContestKind, Evaluation
from tests.factories import make_user, sign_in
from tests.rounds.balloting import Ballot, begin, champion, open_ballot


@pytest.fixture
def ballot(session: Session) -> Ballot:
    return open_ballot(session)


@pytest.fixture
def contest(session: Session, ballot: Ballot) -> Contest:
    """Of round 1, open; round 2 collects."""
    return begin(session, ballot)


@pytest.fixture
def bob(session: Session, client: TestClient) -> User:
    """Bob, signed in."""
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    return bob


def verdict_of(session: Session, contest: Contest) -> Verdict | None:
    return session.scalar(select(Round.verdict).where(Round.id == contest.round_id))


def test_bob_sees_votes_as_they_are_counted(
    session: Session, client: TestClient, ballot: Ballot, contest: Contest, bob: User
) -> None:
    ballot.vote(*[1.0, 1.0, 0.0, 0.5] * 5, capability="coding")
    contests.look(session)
    session.commit()
    for path in ("/", "/rounds/1", f"/contests/{contest.id}"):
        page = client.get(path).text
        assert "62.5%" in page, path
        assert "judged by 1 person" in page, path
    page = client.get(f"/contests/{contest.id}").text
    assert ballot.alice.pseudonym in page
    assert ballot.alice.name not in page
    assert "coding" in page
    assert "at the pace of the last 24 hours (20)" in page


def test_bob_withdraws_with_a_reason_that_stays_on_the_card(
    session: Session, client: TestClient, contest: Contest, bob: User
) -> None:
    page = client.get(f"/contests/{contest.id}").text
    assert f'action="/contests/{contest.id}/withdraw"' in page
    assert "data-confirm" in page
    done = client.post(f"/contests/{contest.id}/withdraw", data={"reason": "It <swears>."})
    assert done.headers["location"] == f"/contests/{contest.id}"
    assert verdict_of(session, contest) is Verdict.WITHDRAWN
    assert champion(session) == "okapi-champion"
    for path in (f"/contests/{contest.id}", "/rounds/1", "/"):
        assert "It &lt;swears&gt;." in client.get(path).text, path
    assert f"/contests/{contest.id}/withdraw" not in client.get(f"/contests/{contest.id}").text
    assert client.post(f"/contests/{contest.id}/withdraw", data={"reason": "Again."}).status_code == 409


@pytest.mark.parametrize("act", ["withdraw", "override"])
@pytest.mark.parametrize("reason", ["", "  \n", "x" * 5000])
def test_without_a_reason_nothing_happens_and_the_form_says_why(
    session: Session, client: TestClient, contest: Contest, bob: User, act: str, reason: str
) -> None:
    refused = client.post(f"/contests/{contest.id}/{act}", data={"reason": reason})
    assert refused.status_code == 422
    assert len(re.findall('aria-invalid="true"', refused.text)) == 1
    assert f'id="error-{act}"' in refused.text
    assert verdict_of(session, contest) is None


def test_bob_overrides_an_open_contest(session: Session, client: TestClient, contest: Contest, bob: User) -> None:
    client.post(f"/contests/{contest.id}/override", data={"reason": "We need its tone."})
    assert verdict_of(session, contest) is Verdict.OVERRIDDEN
    assert champion(session) == "okapi-new"
    page = client.get("/rounds/1").text
    assert "promoted by override" in page
    assert "We need its tone." in page
    assert "/override" not in page


def test_bob_promotes_what_the_checks_refused_from_the_page_of_its_round(
    session: Session, client: TestClient, ballot: Ballot, bob: User
) -> None:
    round_ = session.get_one(Round, ballot.batch.round_id)
    round_.state, round_.verdict = RoundState.COMPLETE, Verdict.REFUSED
    session.add(Evaluation(round_id=round_.id, checkpoint_id=ballot.challenger.id, passed=False, findings=[]))
    session.commit()
    assert 'action="/rounds/1/override"' in client.get("/rounds/1").text
    assert client.post("/rounds/1/override", data={"reason": " "}).status_code == 422
    assert client.post("/rounds/1/override", data={"reason": "Long is fine."}).status_code == 303
    assert champion(session) == "okapi-new"
    watch = session.scalars(select(Contest).where(Contest.kind == ContestKind.WATCH)).one()
    assert "Stop the watch" in client.get(f"/contests/{watch.id}").text
    client.post(f"/contests/{watch.id}/withdraw", data={"reason": "Enough."})
    session.expire_all()
    assert watch.verdict is Verdict.WITHDRAWN


def test_the_api_withdraws_once_for_a_key_and_overrides(
    session: Session, client: TestClient, contest: Contest, bob: User
) -> None:
    path, headers = f"/api/v1/contests/{contest.id}/withdraw", {"idempotency-key": "once"}
    assert client.post(path, json={}).status_code == 422
    assert client.post(path, json={"reason": " "}).status_code == 422
    first, second = (client.post(path, json={"reason": "It swears."}, headers=headers) for _ in range(2))
    assert (first.status_code, first.json()) == (200, second.json())
    assert (first.json()["verdict"], first.json()["reason"]) == ("withdrawn", "It swears.")
    assert client.post(path, json={"reason": "Again."}).status_code == 409
    answer = client.post("/api/v1/rounds/1/override", json={"reason": "It swears well."})
    assert answer.status_code == 200, answer.text
    assert answer.json()["rounds"][0]["verdict"] == "overridden"
    assert champion(session) == "okapi-new"


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.ANNOTATOR])
def test_nobody_else_acts_and_reviewers_are_offered_nothing(
    session: Session, client: TestClient, contest: Contest, bob: User, role: Role
) -> None:
    client.post(f"/contests/{contest.id}/withdraw", data={"reason": "It swears."})
    sign_in(client, make_user(session, role, "Charlie"))
    for path in (f"/contests/{contest.id}/withdraw", f"/contests/{contest.id}/override", "/rounds/1/override"):
        assert client.post(path, data={"reason": "Please."}).status_code == 403, path
    for path in (f"/api/v1/contests/{contest.id}/withdraw", "/api/v1/rounds/1/override"):
        assert client.post(path, json={"reason": "Please."}).status_code == 403, path
    if role is Role.REVIEWER:
        for path in (f"/contests/{contest.id}", "/rounds/1"):
            assert "<textarea" not in client.get(path).text, path
