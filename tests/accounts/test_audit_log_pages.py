"""Admins read the audit log, as a page, as JSON and as JSON Lines; nobody else does."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts import audit_log, service
from app.accounts.models import Role, User
from tests.accounts.events import HERE, events, happened, only, session_of
from tests.factories import PASSWORD, make_user, sign_in

DOORS = [
    "/audit-log",
    "/audit-log/events.csv",
    "/api/v1/audit-log/events.csv",
    "/audit-log/events.jsonl",
    "/api/v1/audit-log",
    "/api/v1/audit-log/events.jsonl",
]


@pytest.fixture
def bob(client: TestClient, session: Session) -> User:
    """Bob administers, and is signed in."""
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    return bob


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
@pytest.mark.parametrize("door", DOORS)
def test_nobody_else_reads_it(client: TestClient, session: Session, role: Role, door: str) -> None:
    charlie = make_user(session, role, "Charlie")
    sign_in(client, charlie)
    assert client.get(door).status_code == 403
    token = service.create_token(session, charlie, "a program", ["read"])
    session.commit()
    client.cookies.clear()
    assert client.get(door, headers={"authorization": f"Bearer {token}"}).status_code in {303, 403}


def test_the_page_names_people_and_says_what_they_did(client: TestClient, session: Session, bob: User) -> None:
    alice = make_user(session, name="Alice <3")
    client.post("/login", data={"email": alice.email, "password": "wrong"})
    client.post(f"/users/{alice.id}/role", data={"role": "reviewer", "password": PASSWORD})
    page = client.get("/audit-log").text
    for words in ("changed a role", "failed to sign in", "Alice &lt;3", "Bob", HERE, "before: annotator"):
        assert words in page
    assert f"session {session_of(session, bob)}" in page
    assert alice.pseudonym not in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"session.started", "sign_in.failed", "user.disabled", "user.signed_out", "test.happened"}),
        ("?kind=people", {"user.disabled"}),
        ("?kind=work", {"test.happened"}),
        ("?kind=refusal", set()),
        ("?text=DISABLED an", {"user.disabled"}),
        ("?text=test.h", {"test.happened"}),
        ("?text=wrong pass", {"sign_in.failed"}),
        ("?text=%25", set()),
        ("?person={alice}", {"sign_in.failed", "user.disabled", "user.signed_out"}),
        ("?address=testclient&kind=sign-in", {"sign_in.failed", "user.signed_out"}),
        ("?address=192.0.2.77", set()),
        ("?until=2001-01-31", {"test.happened"}),
        ("?since=2001-02-01&kind=work", set()),
        ("?since=yesterday&kind=nonsense&person=²&address=%00", None),
    ],
)
def test_a_filter_keeps_what_it_says(
    client: TestClient, session: Session, bob: User, query: str, expected: set[str] | None
) -> None:
    alice = make_user(session)
    happened(session, "2001-01-31 23:59:59+00")
    client.post("/login", data={"email": alice.email, "password": "wrong"})
    client.post(f"/users/{alice.id}/disable")
    lines = client.get(f"/audit-log/events.jsonl{query.format(alice=alice.id)}").text.splitlines()
    found = {json.loads(line)["action"] for line in lines} - {"audit_log.export"}
    everything = {"session.started", "sign_in.failed", "user.disabled", "user.signed_out", "test.happened"}
    assert found == (everything if expected is None else expected)


def test_a_spreadsheet_gets_every_event_and_executes_none(client: TestClient, session: Session, bob: User) -> None:
    service.audit(session, make_user(session, name="=cmd|' /C calc'!A0"), "test.told", "thing", 7, note="a;=1+1")
    session.commit()
    for door in ("/audit-log/events.csv", "/api/v1/audit-log/events.csv"):
        answer = client.get(f"{door}?kind=work&text=test.told")
        assert answer.headers["content-type"].startswith("text/csv")
        titles, row = csv.reader(io.StringIO(answer.text))
        told = dict(zip(titles, row, strict=True))
        assert told["actor"] == "'=cmd|' /C calc'!A0"
        assert (told["subject_type"], told["subject_id"], told["token_id"]) == ("thing", "7", "")
        assert json.loads(told["details"]) == {"note": "a;=1+1"}
        assert ";=" not in answer.text
    assert [event.details["rows"] for event in events(session, "audit_log.exported")] == [1, 1]


def test_pages_follow_one_another_without_a_gap(client: TestClient, session: Session, bob: User) -> None:
    for n in range(7):
        happened(session, datetime(2001, 1, 1, n, tzinfo=UTC))
    asked, seen = "/api/v1/audit-log?kind=work&limit=3", []
    while asked:
        answer = client.get(asked).json()
        seen += [event["at"] for event in answer["events"]]
        asked = f"/api/v1/audit-log?kind=work&limit=3&before={answer['next']}" if answer["next"] else ""
    assert seen == [f"2001-01-01T0{n}:00:00Z" for n in reversed(range(7))]


def test_the_page_has_an_older_one_and_an_end(
    client: TestClient, session: Session, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.accounts.audit_views.PER_PAGE", 2)
    for action in ("test.one", "test.two", "test.three"):
        happened(session, "2001-01-01", action)
    first = client.get("/audit-log?kind=work").text
    assert [name in first for name in ("test.three", "test.two", "test.one")] == [True, True, False]
    older = first.split('href="/audit-log?kind=work&amp;before=')[1].split('"')[0]
    second = client.get(f"/audit-log?kind=work&before={older}").text
    assert [name in second for name in ("test.three", "test.two", "test.one")] == [False, False, True]
    assert "Older" not in second
    assert "No more events" in client.get("/audit-log?before=0").text
    assert "No event matches this filter" in client.get("/audit-log?kind=refusal").text


def test_exporting_the_log_is_an_event_that_says_how_much(
    client: TestClient, session: Session, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "AT_ONCE", 2)
    for n in range(5):
        happened(session, datetime(2001, 1, 1, n, tzinfo=UTC))
    answer = client.get("/api/v1/audit-log/events.jsonl?kind=work")
    assert answer.headers["content-disposition"].startswith('attachment; filename="audit-log-')
    assert len(answer.text.splitlines()) == 5
    begun, done = only(session, "audit_log.export"), only(session, "audit_log.exported")
    assert begun.details == {"filter": {"kind": "work"}}
    assert done.details == {"filter": {"kind": "work"}, "rows": 5, "complete": True}
    for event in (begun, done):
        assert (event.actor_id, event.address, event.login_session_id) == (bob.id, HERE, session_of(session, bob))


@pytest.mark.parametrize(
    "query", ["kind=nonsense", "person=-1", "since=2001-01-01T00:00:00", "limit=101", "before=-1", "address=%00"]
)
def test_the_api_says_what_it_cannot_read(client: TestClient, bob: User, query: str) -> None:
    answer = client.get(f"/api/v1/audit-log?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert query.split("=", maxsplit=1)[0] in answer.json()["errors"][0]["loc"]


def test_a_moment_in_another_zone_is_that_moment(client: TestClient, session: Session, bob: User) -> None:
    at = datetime(2001, 1, 1, 12, tzinfo=UTC)
    happened(session, at)
    for hours, kept in ((-1, 1), (0, 1), (1, 0)):
        since = (at + timedelta(hours=hours)).astimezone().isoformat()
        events = client.get("/api/v1/audit-log", params={"kind": "work", "since": since}).json()["events"]
        assert len(events) == kept
