"""Every kind of event is written with the address and the session that it came from, and nothing takes it away again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts import audit_log, bounded, service, upkeep
from app.accounts.audit_log import Kind
from app.accounts.models import AuditEvent, Role
from app.kernel.settings import ROOT, Settings, get_settings
from tests.accounts.events import HERE, events, happened, only, session_of
from tests.factories import PASSWORD, make_assignment, make_comparison, make_user, sign_in


def old(session: Session, days: int) -> int:
    return session.scalar(select(func.count()).where(AuditEvent.at < func.now() - timedelta(days=days))) or 0


def test_signing_in_and_out_are_events_of_their_session(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    entered = client.post("/login", data={"email": alice.email, "password": PASSWORD})
    client.post("/logout")
    started, ended = events(session, "session.started", "session.ended")
    mine = session_of(session, alice)
    for event in (started, ended):
        assert (event.actor_id, event.subject_id, event.login_session_id) == (alice.id, mine, mine)
        assert event.address == HERE
    assert started.request_id == entered.headers["x-request-id"]


def test_a_failed_try_names_the_account_that_it_aimed_at_and_nothing_that_was_typed(
    client: TestClient, session: Session
) -> None:
    alice, dora = make_user(session), make_user(session, name="Dora")
    session.execute(text("UPDATE users SET disabled_at = now() WHERE id = :id"), {"id": dora.id})
    session.commit()
    for email in (alice.email, dora.email, "my-password-by-mistake"):
        assert client.post("/login", data={"email": email, "password": "a wrong password"}).status_code == 422
    found = events(session, "sign_in.failed")
    assert [(each.subject_id, each.details["reason"]) for each in found] == [
        (alice.id, "wrong password"),
        (dora.id, "disabled account"),
        (None, "no such account"),
    ]
    assert {(each.actor_id, each.address, each.login_session_id) for each in found} == {(None, HERE, None)}
    assert "by-mistake" not in str([each.details for each in found])


def test_a_try_that_came_too_soon_is_an_event_although_it_was_rolled_back(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    statuses = [client.post("/login", data={"email": alice.email, "password": "wrong"}).status_code for _ in range(7)]
    assert statuses == [422] * 5 + [429] * 2
    assert len(events(session, "sign_in.failed")) == 5
    throttled = only(session, "sign_in.throttled")  # two that are alike are one event
    assert (throttled.subject_id, throttled.address, throttled.details["status"]) == (alice.id, HERE, 429)


def test_a_wrong_password_in_an_open_browser_is_an_event_of_its_session(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    assert client.post("/users/invites", data={"role": "admin", "password": "a guess"}).status_code == 422
    event = only(session, "password.refused")
    assert (event.actor_id, event.subject_id, event.address) == (bob.id, bob.id, HERE)
    assert event.login_session_id == session_of(session, bob)


def test_being_signed_out_by_an_admin_and_coming_back_with_that_session_are_events(
    client: TestClient, session: Session
) -> None:
    alice, bob = make_user(session), make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    cookie = client.cookies["corral"]
    sign_in(client, alice)
    hers, of_alice = client.cookies["corral"], session_of(session, alice)
    client.cookies.set("corral", cookie)
    client.post(f"/users/{alice.id}/sign-out")
    event = only(session, "user.signed_out")
    assert (event.actor_id, event.subject_id, event.login_session_id) == (bob.id, alice.id, session_of(session, bob))
    client.cookies.set("corral", hers)
    for _ in range(3):
        assert client.get("/profile").status_code == 303
    refused = only(session, "session.refused")
    assert (refused.actor_id, refused.subject_id, refused.details["session_id"]) == (None, alice.id, of_alice)
    assert refused.address == HERE


def test_a_session_that_ran_out_by_itself_is_no_event(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session))
    session.execute(text("UPDATE login_sessions SET expires_at = now()"))
    session.commit()
    assert client.get("/profile").status_code == 303
    assert events(session, "session.refused") == []


@pytest.mark.parametrize(
    ("url", "route"), [("/users", "/users"), ("/api/v1/audit-log", "/api/v1/audit-log"), ("/batches/7", None)]
)
def test_what_a_role_may_not_is_an_event(client: TestClient, session: Session, url: str, route: str | None) -> None:
    charlie = make_user(session, name="Charlie")
    sign_in(client, charlie)
    assert client.get(url).status_code == 403
    event = only(session, "access.refused")
    assert (event.actor_id, event.address, event.login_session_id) == (charlie.id, HERE, session_of(session, charlie))
    assert (event.details["method"], event.details["route"]) == ("GET", route or "/batches/{batch_id}")
    assert "is for" in event.details["reason"]


def test_what_another_site_caused_is_an_event_that_tells_no_secret(client: TestClient, session: Session) -> None:
    secret = service.create_invite(session, role=Role.ADMIN)
    session.commit()
    headers = {"sec-fetch-site": "cross-site"}
    assert client.post(f"/invite/{secret}", data={}, headers=headers).status_code == 403
    event = only(session, "access.refused")
    assert (event.address, event.details["route"]) == (HERE, "/invite/{secret}")
    assert "another site" in event.details["reason"]
    assert secret not in str(event.details)


def test_a_token_that_is_made_used_and_revoked_leaves_events_that_name_it(client: TestClient, session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    token, secret = service.issue_token(session, bob, "a program", ["annotate"])
    session.commit()
    headers = {"authorization": f"Bearer {secret}"}
    assert client.get("/api/v1/audit-log", headers=headers).status_code == 403
    beyond = only(session, "access.refused")
    assert (beyond.actor_id, beyond.token_id, beyond.address) == (bob.id, token.id, HERE)
    assert "needs the scope" in beyond.details["reason"]
    assert client.delete(f"/api/v1/tokens/{token.id}", headers=headers).status_code == 204
    revoked = only(session, "token.revoked")
    assert (revoked.actor_id, revoked.subject_id, revoked.token_id) == (bob.id, token.id, token.id)
    for shown in (secret, "corral_made-up"):
        assert client.get("/api/v1/me", headers={"authorization": f"Bearer {shown}"}).status_code == 401
    known, foreign = events(session, "token.refused")
    assert (known.subject_type, known.subject_id, known.details["token_id"]) == ("user", bob.id, token.id)
    assert (foreign.subject_type, foreign.subject_id, foreign.address) == ("api_token", None, HERE)
    assert secret not in str([each.details for each in events(session)])


@pytest.mark.parametrize("is_known", [True, False])
def test_an_invite_that_does_not_work_is_an_event_when_it_is_tried(
    client: TestClient, session: Session, *, is_known: bool
) -> None:
    secret = service.create_invite(session, role=Role.ADMIN)
    session.execute(text("UPDATE invites SET expires_at = now()"))
    session.commit()
    created = only(session, "invite.created")
    shown = secret if is_known else "made up"
    assert client.get(f"/invite/{shown}").status_code == 404
    assert client.post(f"/invite/{shown}", data={}).status_code == 404
    refused = only(session, "invite.refused")
    assert (refused.subject_id, refused.address) == (created.subject_id if is_known else None, HERE)
    assert refused.details["route"] == "/invite/{secret}"
    assert shown not in str(refused.details)


def test_work_writes_no_event(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice, make_comparison(session))
    token = service.create_token(session, alice, "a program", ["annotate"])
    session.commit()
    before = len(events(session))
    headers = {"authorization": f"Bearer {token}"}
    work = client.post("/api/v1/annotate/next", headers=headers).json()
    assert work["id"] == held.id
    said = {"fencing_token": work["fencing_token"], "outcome": "ranked", "ranking": [["B"], ["A"]], "strengths": [3]}
    url = f"/api/v1/assignments/{held.id}/submit"
    done = client.post(url, json=said, headers={**headers, "idempotency-key": "first"})
    assert done.is_success, done.text
    assert len(events(session)) == before


def test_another_role_and_an_invite_name_the_session_in_which_they_were_given(
    client: TestClient, session: Session
) -> None:
    alice, bob = make_user(session), make_user(session, Role.ADMIN, "Bob")
    sign_in(client, bob)
    client.post(f"/users/{alice.id}/role", data={"role": "reviewer", "password": PASSWORD})
    client.post("/users/invites", data={"role": "reviewer", "password": PASSWORD})
    found = events(session, "user.role_changed", "invite.created")
    assert len(found) == 2
    assert {(each.actor_id, each.address, each.login_session_id) for each in found} == {
        (bob.id, HERE, session_of(session, bob))
    }


def test_a_flood_of_refusals_is_a_handful_of_events_that_say_how_many_there_were() -> None:
    now = 0.0
    share = bounded.Share(lambda: now)
    assert share.take("192.0.2.1", "the same") == 0
    assert [share.take("192.0.2.1", "the same") for _ in range(1000)] == [None] * 1000
    now = bounded.ALIKE_SECONDS
    assert share.take("192.0.2.1", "the same") == 1000
    of_one = [share.take("192.0.2.1", n) for n in range(1000)]
    assert len([each for each in of_one if each is not None]) == bounded.HOURLY_OF_SOURCE - 2
    of_many = [share.take(f"198.51.100.{n}", f"of {n}") for n in range(1000)]
    assert len([each for each in of_many if each is not None]) == bounded.HOURLY - bounded.HOURLY_OF_SOURCE
    now = bounded.HOUR
    assert share.take("192.0.2.9", "another") == 1000 - (bounded.HOURLY - bounded.HOURLY_OF_SOURCE)


def test_a_flood_of_one_person_is_bounded_at_the_door(client: TestClient, session: Session) -> None:
    sign_in(client, make_user(session, name="Charlie"))
    assert {client.get(f"/batches/{n}").status_code for n in range(20)} == {403}
    only(session, "access.refused")


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE at < now() - interval '500 days'",
        "UPDATE audit_events SET details = '{}' WHERE at < now() - interval '500 days'",
        "SET LOCAL corral.forgetting = 'on'; DELETE FROM audit_events WHERE at < now() - interval '500 days'",
        "SELECT set_config('corral.forgetting', pg_current_xact_id()::text, true); DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "TRUNCATE audit_events, users CASCADE",
    ],
)
def test_no_statement_takes_an_event_away(session: Session, change: str) -> None:
    happened(session, "2001-01-01")
    happened(session, "now")
    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(change))


def test_retention_removes_what_is_old_and_is_an_event_itself(session: Session) -> None:
    days = get_settings().audit_days
    for ago in (days + 5, days + 3, days - 1, 0):
        happened(session, datetime.now(UTC) - timedelta(days=ago))
    upkeep.forget_old(session)
    assert old(session, days) == 0
    assert len(events(session, "test.happened")) == 2
    removal = only(session, "audit_log.forgotten")
    assert removal.details["events"] == 2
    assert removal.details["last_id"] - removal.details["first_id"] == 1
    upkeep.forget_old(session)
    assert len(events(session, "audit_log.forgotten")) == 1, "nothing was removed, so nothing is said"


def test_retention_can_be_turned_off(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    for_ever = get_settings().model_copy(update={"audit_days": 0})
    monkeypatch.setattr("app.accounts.upkeep.get_settings", lambda: for_ever)
    happened(session, "2001-01-01")
    upkeep.forget_old(session)
    assert len(events(session, "test.happened")) == 1


@pytest.mark.parametrize("before", ["now()", "now() - interval '29 days'", "NULL", "'infinity'"])
def test_the_one_function_keeps_what_is_younger_than_thirty_days(session: Session, before: str) -> None:
    happened(session, "2001-01-01")
    with pytest.raises(DBAPIError, match="at least 30 days"):
        session.execute(text(f"SELECT forget_audit_events({before})"))


def test_whoever_imitates_the_function_is_noted_all_the_same(session: Session) -> None:
    happened(session, "2001-01-01")
    imitated = "SELECT set_config('corral.forgetting', pg_current_xact_id()::text, true)"
    session.execute(text(imitated))
    session.execute(text("DELETE FROM audit_events WHERE at < '2002-01-01'"))
    assert only(session, "audit_log.forgotten").details["events"] == 1


def test_a_retention_that_is_too_short_is_refused() -> None:
    assert Settings(audit_days=30).audit_days == 30
    with pytest.raises(ValueError, match="at least 30 days"):
        Settings(audit_days=29)


def test_every_action_that_is_written_has_its_words() -> None:
    written = set()
    for path in (ROOT / "app").rglob("*.py"):
        calls = re.findall(r"\b(?:audit|Refusal)\(\s*(.*?)(?:\"user\"|subject|\)\n)", path.read_text(), re.DOTALL)
        written |= {action for call in calls for action in re.findall(r'"([a-z_]+\.[a-z_]+)"', call)}
    assert {"session.started", "batch.create", "gold.retire", "access.refused"} <= written
    assert written - set(audit_log.ACTIONS) == set()
    assert {kind for kind, _ in audit_log.ACTIONS.values()} == set(Kind) == set(audit_log.KINDS)
