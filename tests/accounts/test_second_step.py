"""Codes of authenticator apps: setting up, signing in, what is refused, recovery, and who has to have it."""

from __future__ import annotations

import re

import pyotp
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.accounts import erasing, queries, second_step, service, signing_in
from app.accounts.models import AuditEvent, LoginAttempt, LoginSession, RecoveryCode, Role, SecondStep, User
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from tests.factories import PASSWORD, make_user, sign_in

NOON = 1_800_000_000.0
"""A moment at which a half minute begins."""


class Clock:
    """The server's clock, which tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(second_step, "_now", clock)
    return clock


def turn_on(session: Session, user: User, clock: Clock) -> tuple[pyotp.TOTP, list[str]]:
    """The person's app and recovery codes; the code of an hour ago confirmed it."""
    now, clock.now = clock.now, clock.now - 3600
    app = pyotp.TOTP(second_step.begin(session, user))
    codes = second_step.confirm(session, user, app.at(int(clock.now)), keep=0)
    session.commit()
    clock.now = now
    return app, codes


def enter_password(client: TestClient, user: User, target: str = "/") -> None:
    answer = client.post("/login", data={"email": user.email, "password": PASSWORD, "next": target})
    assert answer.headers["location"] == "/login/code"


def enter_code(client: TestClient, code: str) -> str:
    """Where it leads, or what is said against it."""
    answer = client.post("/login/code", data={"code": code})
    if answer.status_code == 303:
        return answer.headers["location"]
    found = re.search(r'id="code-error"><p>(.*?)</p>', answer.text)
    assert found, answer.text
    return found[1].replace("&#39;", "'")


def test_alice_sets_it_up_and_signs_in_with_a_code(client: TestClient, session: Session, clock: Clock) -> None:
    alice = make_user(session)
    sign_in(client, alice)
    assert client.post("/profile/second-step/begin", data={"password": "a wrong one"}).status_code == 422
    page = client.post("/profile/second-step/begin", data={"password": PASSWORD})
    secret = re.search(r'id="secret" value="([A-Z2-7]{32})"', page.text)
    assert secret
    assert "<svg viewBox" in page.text
    assert secret[1] not in client.get("/profile/second-step").text, "it is shown once"
    app = pyotp.TOTP(secret[1])

    mistaken = client.post("/profile/second-step/confirm", data={"code": "000000"})
    assert mistaken.status_code == 422
    assert secret[1] in mistaken.text, "who mistypes need not begin again"
    shown = client.post("/profile/second-step/confirm", data={"code": app.at(int(clock.now))})
    codes = re.findall(r"<li><code>([a-z2-7-]{19})</code></li>", shown.text)
    assert len(codes) == 10
    assert codes[0] not in client.get("/profile/second-step").text

    client.cookies.clear()
    enter_password(client, alice, "/annotate?batch=3")
    assert client.get("/profile").status_code == 303, "nobody is signed in before the code"
    clock.now += 30
    assert enter_code(client, app.at(int(clock.now))) == "/annotate?batch=3"
    assert client.get("/profile").status_code == 200


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_counts_for_its_half_minute_and_the_two_beside_it_once(
    client: TestClient, session: Session, clock: Clock, steps: int
) -> None:
    alice = make_user(session)
    app, _ = turn_on(session, alice, clock)
    code = app.at(int(clock.now) + 30 * steps)
    enter_password(client, alice)
    assert enter_code(client, f" {code[:3]} {code[3:]} ") == "/"
    enter_password(client, alice)
    assert enter_code(client, code) == second_step.USED
    assert enter_code(client, app.at(int(clock.now) + 30 * (steps - 1))).startswith("This code"), (
        "an earlier one neither"
    )


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (10, "about 10 minutes ahead of ours: check that your device's clock is right"),
        (-10, "about 10 minutes behind ours: check that your device's clock is right"),
        (1, "about 1 minute ahead of ours"),
        (30, second_step.WRONG),
    ],
)
def test_a_clock_that_is_off_is_told_how_far(
    client: TestClient, session: Session, clock: Clock, minutes: int, said: str
) -> None:
    alice = make_user(session)
    app, _ = turn_on(session, alice, clock)
    enter_password(client, alice)
    early = app.at(int(clock.now) + 60 * minutes)
    assert said in enter_code(client, early)
    clock.now += 60 * minutes
    if 0 < minutes < 20:
        assert enter_code(client, early) == second_step.USED, "who guessed it gains nothing by waiting"
    clock.now += 30
    assert enter_code(client, app.at(int(clock.now))) == "/"


def test_wrong_codes_are_throttled_and_a_right_password_forgets_none(
    client: TestClient, session: Session, clock: Clock
) -> None:
    alice = make_user(session)
    app, _ = turn_on(session, alice, clock)
    for _ in range(5):
        enter_password(client, alice)
        assert enter_code(client, "000000") == second_step.WRONG
    enter_password(client, alice)
    assert client.post("/login/code", data={"code": app.at(int(clock.now))}).status_code == 429
    assert session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all().count("second_step.failed") == 5


def test_after_a_hundred_wrong_codes_only_known_browsers_and_recovery_codes_get_in(
    client: TestClient, session: Session, clock: Clock
) -> None:
    alice = make_user(session)
    app, codes = turn_on(session, alice, clock)
    known = signing_in.start_session(session, alice, device="her laptop")
    session.get_one(SecondStep, alice.id).failures = second_step.MOST_WRONG
    session.commit()
    assert known
    now = int(clock.now)
    assert second_step.check(session, alice, app.at(now), "192.0.2.7", None).problem == second_step.TOO_MANY
    assert second_step.check(session, alice, codes[0], "192.0.2.7", None).left == 9
    assert second_step.check(session, alice, app.at(now), "192.0.2.7", "her laptop").problem is None
    assert session.get_one(SecondStep, alice.id).failures == 0


def test_a_recovery_code_counts_once_and_is_stored_as_a_hash(
    client: TestClient, session: Session, clock: Clock
) -> None:
    alice = make_user(session)
    _, codes = turn_on(session, alice, clock)
    enter_password(client, alice)
    assert enter_code(client, codes[3].upper().replace("-", " ")) == "/"
    assert "9 are left" in client.get("/profile").text
    client.cookies.clear()
    enter_password(client, alice)
    assert enter_code(client, codes[3]) == second_step.WRONG
    stored = session.scalars(select(RecoveryCode.code_hash)).all()
    assert len(stored) == 10
    assert all(len(each) == 32 for each in stored)


def test_the_secret_is_sealed_and_in_no_event(session: Session, clock: Clock) -> None:
    alice = make_user(session)
    app, codes = turn_on(session, alice, clock)
    kept = str(session.execute(text("SELECT secret FROM second_steps")).scalar_one())
    events = str(session.execute(text("SELECT json_agg(e) FROM audit_events e")).scalar_one())
    for secret in (app.secret, *codes):
        assert secret not in kept
        assert secret not in events


def test_without_the_key_of_the_installation_only_recovery_codes_work(
    session: Session, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = make_user(session)
    app, codes = turn_on(session, alice, clock)
    monkeypatch.setenv("CORRAL_SECRETS_KEY", "another key, of which nothing was sealed")
    get_settings.cache_clear()
    assert second_step.check(session, alice, app.at(int(clock.now)), "::1", None).problem == second_step.UNREADABLE
    assert second_step.check(session, alice, codes[0], "::1", None).problem is None


def test_what_waits_for_a_code_ends_with_the_password_the_account_and_the_browser(
    client: TestClient, session: Session, clock: Clock
) -> None:
    alice = make_user(session)
    app, _ = turn_on(session, alice, clock)
    assert client.post("/login/code", data={"code": app.at(int(clock.now))}).headers["location"] == "/login"
    client.cookies.set("corral-step", "made up")
    assert client.get("/login/code").headers["location"] == "/login"
    client.cookies.clear()
    enter_password(client, alice)
    service.set_password(session, alice, "another long password")
    session.commit()
    assert client.post("/login/code", data={"code": app.at(int(clock.now))}).headers["location"] == "/login"


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_the_code_leads_to_no_other_site(client: TestClient, session: Session, clock: Clock, target: str) -> None:
    alice = make_user(session)
    app, _ = turn_on(session, alice, clock)
    enter_password(client, alice, target)
    assert enter_code(client, app.at(int(clock.now))) == "/"


def test_alice_turns_it_off_with_password_and_code(client: TestClient, session: Session, clock: Clock) -> None:
    alice = make_user(session)
    app, codes = turn_on(session, alice, clock)
    sign_in(client, alice)
    code = app.at(int(clock.now))
    for wrong in ({"password": "wrong", "code": code}, {"password": PASSWORD, "code": "000000"}):
        assert client.post("/profile/second-step/off", data=wrong).status_code == 422
    again = client.post("/profile/second-step/codes", data={"password": PASSWORD, "code": codes[0]})
    assert codes[1] not in again.text
    assert len(re.findall(r"<li><code>", again.text)) == 10
    assert client.post("/profile/second-step/off", data={"password": PASSWORD, "code": code}).status_code == 303
    client.cookies.clear()
    answer = client.post("/login", data={"email": alice.email, "password": PASSWORD})
    assert answer.headers["location"] == "/"
    assert client.post("/profile/second-step/off", data={"password": PASSWORD, "code": code}).status_code == 409


def test_an_api_token_needs_no_code(client: TestClient, session: Session, clock: Clock) -> None:
    alice = make_user(session)
    turn_on(session, alice, clock)
    token = service.create_token(session, alice, "script", ["read"])
    session.commit()
    assert client.get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_bob_resets_it_for_somebody_who_lost_it(client: TestClient, session: Session, clock: Clock) -> None:
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
    turn_on(session, alice, clock)
    elsewhere = signing_in.start_session(session, alice)
    session.commit()
    sign_in(client, bob)
    asked = client.post(f"/users/{alice.id}/second-step/reset", data={})
    assert asked.status_code == 422
    assert "Your password" in asked.text
    assert second_step.is_on(session, alice)
    assert client.post(f"/users/{alice.id}/second-step/reset", data={"password": PASSWORD}).status_code == 303
    session.expire_all()
    assert not second_step.is_on(session, alice)
    assert queries.session_holder(session, elsewhere) is None
    last = session.scalars(select(AuditEvent).where(AuditEvent.action == "second_step.reset")).one()
    assert (last.actor_id, last.subject_id) == (bob.id, alice.id)


def test_a_program_resets_it_too_and_nobody_resets_their_own(
    client: TestClient, session: Session, clock: Clock
) -> None:
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
    for each in (bob, alice):
        turn_on(session, each, clock)
    token = service.create_token(session, bob, "script", ["admin"])
    session.commit()
    headers = {"authorization": f"Bearer {token}"}
    where = f"/api/v1/users/{alice.id}/second-step/reset"
    assert client.post(where, json={"password": "wrong"}, headers=headers).status_code == 422
    assert client.post(where, json={"password": PASSWORD}, headers=headers).status_code == 204
    assert client.post(where, json={"password": PASSWORD}, headers=headers).status_code == 409
    with pytest.raises(Conflict):
        second_step.reset(session, bob, bob)


def test_admins_who_need_one_set_it_up_first_and_are_never_locked_out(
    client: TestClient, session: Session, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_SECOND_STEP", "admins")
    get_settings.cache_clear()
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
    token = service.create_token(session, bob, "script", ["admin"])
    session.commit()
    into = client.post("/login", data={"email": bob.email, "password": PASSWORD, "next": "/users"})
    assert into.headers["location"] == "/profile/second-step"
    assert client.get("/users").status_code == 403
    assert client.get("/api/v1/users").status_code == 403, "nor by the browser's session"
    assert client.get("/api/v1/users", headers={"authorization": f"Bearer {token}"}).status_code == 200
    page = client.post("/profile/second-step/begin", data={"password": PASSWORD}).text
    secret = re.search(r'id="secret" value="(\w+)"', page)
    assert secret
    client.post("/profile/second-step/confirm", data={"code": pyotp.TOTP(secret[1]).at(int(clock.now))})
    assert client.get("/users").status_code == 200
    client.cookies.clear()
    assert client.post("/login", data={"email": alice.email, "password": PASSWORD}).headers["location"] == "/"


def test_erasing_somebody_drops_it_and_upkeep_what_nobody_confirmed(session: Session, clock: Clock) -> None:
    alice, carol = make_user(session), make_user(session, name="Carol")
    turn_on(session, alice, clock)
    second_step.begin(session, carol)
    session.execute(text("UPDATE second_steps SET created_at = now() - interval '2 days'"))
    second_step.forget_unconfirmed(session)
    assert session.scalars(select(SecondStep.user_id)).all() == [alice.id]
    erasing.erase(session, None, alice)
    assert session.scalars(select(SecondStep.user_id)).all() == []
    assert session.scalars(select(RecoveryCode.id)).all() == []


def test_turning_it_on_ends_other_browsers(session: Session, clock: Clock) -> None:
    alice = make_user(session)
    elsewhere = signing_in.start_session(session, alice)
    turn_on(session, alice, clock)
    assert queries.session_holder(session, elsewhere) is None
    assert session.scalars(select(LoginSession.revoked_at)).one() is not None
    assert session.scalars(select(LoginAttempt.id)).all() == []
