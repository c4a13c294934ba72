"""Whatever hands out data as a file leaves an event first, with address and session. A new door is in here by existing."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

import workers.tasks.snapshots
from app.accounts.models import Role
from app.kernel.errors import Unavailable
from app.preferences import download, service
from app.preferences.export import Progress
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.preferences.models import Snapshot
from tests.accounts.events import HERE, events, only, session_of
from tests.factories import make_annotation, make_user, sign_in
from tests.security.doors import Door

NO_DATA_OF_OTHERS = {
    "/metrics": "numbers of the process and the queues",
    "/api/v1/live/{generation_id}/events": "the text that its own asker waits for",
    "/snapshots/{snapshot_id}/README.md": "what the columns are, and how many rows",
    "/api/v1/snapshots/{snapshot_id}/README.md": "the same",
}
PAGES = ("text/html", "application/json")


@pytest.fixture
def snapshot(session: Session, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """Alice has judged a comparison, and it is frozen."""
    monkeypatch.setattr("app.kernel.jobs.ring", lambda *_: True)
    make_annotation(session, make_user(session, name="Alice"))
    asked = service.request_snapshot(session, None, ExportFilter())
    session.commit()
    workers.tasks.snapshots.build_snapshot(asked.id)
    session.refresh(asked)
    return asked


def test_no_file_leaves_without_an_event(
    all_doors: list[Door], client: TestClient, session: Session, snapshot: Snapshot
) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    files = []
    for door in all_doors:
        if door.method != "GET" or not door.roles or door.template in NO_DATA_OF_OTHERS:
            continue
        before = {event.id for event in events(session)}
        answer = client.get(door.url(snapshot_id=snapshot.id))
        is_file = "content-disposition" in answer.headers or not answer.headers.get(
            "content-type", PAGES[0]
        ).startswith((*PAGES, "application/problem+json"))
        left = [event for event in events(session) if event.id not in before]
        if not is_file:
            assert left == [], str(door)
            continue
        files.append(door.template)
        assert answer.status_code == 200
        assert answer.content
        assert left, f"{door} is not logged"
        for event in left:
            assert (event.actor_id, event.address) == (bob.id, HERE), str(door)
            assert event.login_session_id == session_of(session, bob), str(door)
            assert event.request_id == answer.headers["x-request-id"]
    assert sorted(files) == sorted(
        prefix + path
        for prefix in ("", "/api/v1")
        for path in (
            "/preferences/export",
            "/snapshots/{snapshot_id}/preferences.jsonl",
            "/audit-log/events.csv",
            "/audit-log/events.jsonl",
        )
    )


def test_an_export_says_what_was_asked_for_and_how_much_it_was(
    client: TestClient, session: Session, snapshot: Snapshot
) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    sign_in(client, rita)
    rows = client.get("/api/v1/preferences/export?shape=trl&split=all&round=1").text.splitlines()
    begun, done = only(session, "preferences.export"), only(session, "preferences.exported")
    assert (begun.details["shape"], begun.details["format"]) == ("trl", "jsonl")
    assert begun.details["filter"]["rounds"] == [1]
    assert done.details == {**begun.details, "rows": len(rows), "complete": True}
    client.get(f"/snapshots/{snapshot.id}/preferences.jsonl")
    assert only(session, "snapshot.download").details == {"rows": snapshot.rows}


def test_an_export_that_broke_off_has_both_events(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    make_annotation(session, make_user(session))
    bob = make_user(session, Role.ADMIN, "Bob")
    wanted = ExportFilter()
    chunks = download.logged(session, bob, Shape.CANONICAL, Format.JSONL, wanted, Progress())
    assert next(chunks)
    assert events(session, "preferences.exported") == []
    chunks.close()
    assert only(session, "preferences.exported").details["complete"] is False

    def broken(*_: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr("app.preferences.export.stream", broken)
    with pytest.raises(Unavailable):
        list(download.logged(session, bob, Shape.TRL, Format.JSONL, wanted, Progress()))
    assert [event.details["complete"] for event in events(session, "preferences.exported")] == [False, False]


def test_a_snapshot_that_rita_may_not_have_yet_is_a_refusal(
    client: TestClient, session: Session, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.preferences.queries.names_models_too_early", lambda *_: True)
    rita = make_user(session, Role.REVIEWER, "Rita")
    sign_in(client, rita)
    assert client.get(f"/snapshots/{snapshot.id}/preferences.jsonl").status_code == 409
    refused = only(session, "download.refused")
    assert (refused.actor_id, refused.subject_id, refused.details["status"]) == (rita.id, snapshot.id, 409)
    assert events(session, "snapshot.download") == []
