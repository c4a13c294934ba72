"""The JSON of checks and findings."""

from __future__ import annotations

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from tests.factories import make_assignment
from tests.findings.checking import checkable
from tests.findings.test_edits import check_waiting
from tests.findings.test_pages import prefer


def token(session: Session, user: User) -> dict[str, str]:
    _, secret = accounts.issue_token(session, user, "test", accounts.allowed_scopes(user))
    session.commit()
    return {"authorization": f"Bearer {secret}"}


def test_counts_and_conflicts_for_reviewers(client: TestClient, session: Session, alice: User, rita: User) -> None:
    prefer(session, alice, "It is 41.")
    headers = token(session, rita)
    [count] = client.get("/api/v1/checks", headers=headers).json()["counts"]
    assert (count["verifier"], count["passed"], count["failed"], count["unchecked"]) == ("holds", 1, 1, 0)
    [conflict] = client.get("/api/v1/checks/conflicts", headers=headers).json()["annotations"]
    assert conflict["preferred"] == [{"verifier": "holds", "above": "A", "why": "42 wanted", "below": "B"}]
    assert client.get("/api/v1/checks", headers=token(session, alice)).status_code == 403


def test_all_findings_for_admins_alone(client: TestClient, session: Session, rita: User, bob: User) -> None:
    comparison = checkable(session)
    check_waiting(session)
    url = f"/api/v1/batches/{comparison.batch_id}/findings"
    found = client.get(url, headers=token(session, bob)).json()["findings"]
    assert sorted((each["passed"], each["message"]) for each in found) == [(False, "42 wanted"), (True, "1 of 1 tests")]
    assert client.get(url, headers=token(session, rita)).status_code == 403
    again = f"/api/v1/batches/{comparison.batch_id}/check-again"
    assert client.post(again, headers=token(session, bob)).json() == {"checks": 0}


def test_an_edit_before_it_is_submitted(client: TestClient, session: Session, alice: User) -> None:
    item = make_assignment(session, alice, checkable(session))
    check_waiting(session)
    headers = token(session, alice)
    url = f"/api/v1/assignments/{item.id}/check"
    assert client.get(url, headers=headers).status_code == 404
    assert client.post(url, json={"text": "It is surely 42."}, headers=headers).json() == {
        "waiting": True,
        "findings": [],
    }
    check_waiting(session)
    done = client.get(url, headers=headers).json()
    assert done == {
        "waiting": False,
        "findings": [{"verifier": "holds", "version": "1", "passed": True, "message": "1 of 1 tests"}],
    }
