from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.accounts import queries, service, signing_in
from app.accounts.models import AuditEvent, Role
from app.kernel.errors import BadInput, Conflict, NotFound
from tests.factories import PASSWORD, make_user

HERE = "192.0.2.1"


def actions(session: Session) -> list[str]:
    session.flush()
    return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


def test_a_new_person_signs_in_with_the_password_they_chose(session: Session) -> None:
    made = service.create_user(
        session, email=" Alice@Example.org ", name="  Alice  A. ", role=Role.ANNOTATOR, password=PASSWORD
    )
    assert (made.email, made.name) == ("alice@example.org", "Alice A.")
    assert made.pseudonym.startswith("annotator-")
    assert signing_in.authenticate(session, "ALICE@example.org", PASSWORD, HERE) is made
    assert signing_in.authenticate(session, "alice@example.org", PASSWORD + "!", HERE) is None


def test_a_password_is_never_stored(session: Session) -> None:
    made = service.create_user(session, email="a@example.org", name="Alice", role=Role.ANNOTATOR, password=PASSWORD)
    assert made.password_hash.startswith("$argon2id$")


@pytest.mark.parametrize(
    ("email", "name", "password", "field"),
    [
        ("nobody", "Alice", PASSWORD, "email"),
        ("a@b@c", "Alice", PASSWORD, "email"),
        ("0<svg/onload=alert(1)>@x.test", "Alice", PASSWORD, "email"),
        ("alice@<b>.test", "Alice", PASSWORD, "email"),
        ('"><script>@x.test', "Alice", PASSWORD, "email"),
        ("alice@x.test,bob@x.test", "Alice", PASSWORD, "email"),
        ("alice@-x.test", "Alice", PASSWORD, "email"),
        ("alice@x..test", "Alice", PASSWORD, "email"),
        (".alice@x.test", "Alice", PASSWORD, "email"),
        ("a" * 65 + "@x.test", "Alice", PASSWORD, "email"),
        ("javascript:alert(1)@x.test", "Alice", PASSWORD, "email"),
        ("a\x00@example.org", "Alice", PASSWORD, "email"),
        ("İ@example.org", "Alice", PASSWORD, "email"),
        ("a@example.org", "   ", PASSWORD, "name"),
        ("a@example.org", "Al\x00ice", PASSWORD, "name"),
        ("a@example.org", "Al\u202eice", PASSWORD, "name"),
        ("a@example.org", "Alice", "too short", "password"),
        ("a@example.org", "Alice", "a" * 12, "password"),
        ("a@example.org", "Alice", "long " * 100, "password"),
    ],
)
def test_what_cannot_be_used_is_refused_by_field(
    session: Session, email: str, name: str, password: str, field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        service.create_user(session, email=email, name=name, role=Role.ANNOTATOR, password=password)
    assert refused.value.extra["errors"][0]["loc"] == field


def test_one_address_has_one_account(session: Session) -> None:
    make_user(session, email="alice@example.org")
    with pytest.raises(BadInput, match="already"):
        service.create_user(session, email="Alice@example.org", name="A", role=Role.ADMIN, password=PASSWORD)


def test_an_invite_makes_one_account_with_its_role(session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    secret = service.create_invite(session, role=Role.REVIEWER, created_by=bob)
    rita = service.accept_invite(session, secret, email="rita@example.org", name="Rita", password=PASSWORD)
    assert rita.role is Role.REVIEWER
    with pytest.raises(NotFound):
        service.accept_invite(session, secret, email="eve@example.org", name="Eve", password=PASSWORD)


def test_an_invite_for_an_address_is_for_that_address(session: Session) -> None:
    secret = service.create_invite(session, role=Role.ADMIN, email="bob@example.org")
    with pytest.raises(BadInput, match=r"bob@example\.org"):
        service.accept_invite(session, secret, email="charlie@example.org", name="Charlie", password=PASSWORD)


def test_an_old_or_withdrawn_invite_makes_nothing(session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    old = service.create_invite(session, role=Role.REVIEWER)
    session.execute(text("UPDATE invites SET expires_at = now() - interval '1 second'"))
    withdrawn = service.create_invite(session, role=Role.REVIEWER)
    service.withdraw_invite(session, bob, queries.find_invite(session, withdrawn).id)
    for secret in (old, withdrawn, "guess"):
        with pytest.raises(NotFound):
            queries.find_invite(session, secret)


def test_the_last_admin_stays_one(session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    make_user(session, Role.REVIEWER, "Rita")
    with pytest.raises(Conflict, match="only admin"):
        service.set_role(session, None, bob, Role.REVIEWER)
    with pytest.raises(Conflict, match="only admin"):
        service.disable(session, None, bob)
    second = make_user(session, Role.ADMIN, "Beatrice")
    service.set_role(session, second, bob, Role.REVIEWER)
    assert bob.role is Role.REVIEWER


def test_nobody_disables_their_own_account(session: Session) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    make_user(session, Role.ADMIN, "Beatrice")
    with pytest.raises(Conflict, match="your own"):
        service.disable(session, bob, bob)


def test_a_disabled_person_is_out_at_once_and_may_come_back(session: Session) -> None:
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
    cookie, token = signing_in.start_session(session, alice), service.create_token(session, alice, "script", ["read"])
    service.disable(session, bob, alice)
    session.flush()
    session.expire(alice)
    assert queries.session_holder(session, cookie) is None
    assert queries.token_holder(session, token) is None
    assert signing_in.authenticate(session, alice.email, PASSWORD, HERE) is None
    service.enable(session, bob, alice)
    session.flush()
    assert queries.session_holder(session, cookie) is None, "the old session stays revoked"
    assert queries.token_holder(session, token) is not None
    assert signing_in.authenticate(session, alice.email, PASSWORD, HERE) is alice


def test_a_new_password_ends_every_other_session(session: Session) -> None:
    alice = make_user(session)
    here, elsewhere = signing_in.start_session(session, alice), signing_in.start_session(session, alice)
    held = queries.session_holder(session, here)
    assert held
    service.set_password(session, alice, "another long password", actor=alice, keep=held[1])
    assert queries.session_holder(session, here) is not None
    assert queries.session_holder(session, elsewhere) is None


def test_a_password_that_is_set_for_somebody_ends_their_tokens_too(session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    hers, his = (service.create_token(session, person, "script", ["read"]) for person in (alice, charlie))
    service.set_password(session, alice, "another long password")
    assert queries.token_holder(session, hers) is None
    assert queries.token_holder(session, his) is not None
    assert actions(session)[-1] == "user.tokens_revoked"


def test_a_token_is_revoked_once_and_stays_so(session: Session) -> None:
    alice = make_user(session)
    token, secret = service.issue_token(session, alice, "script", ["read"])
    service.revoke_token(session, alice, token.id)
    service.revoke_token(session, alice, token.id)
    assert queries.token_holder(session, secret) is None
    assert actions(session) == ["token.created", "token.revoked"]


def test_only_admins_load_people_and_invites(session: Session) -> None:
    bob, rita = make_user(session, Role.ADMIN, "Bob"), make_user(session, Role.REVIEWER, "Rita")
    invite = queries.find_invite(session, service.create_invite(session, role=Role.ANNOTATOR, created_by=bob))
    with pytest.raises(NotFound):
        queries.access_user(session, rita, bob.id)
    with pytest.raises(NotFound):
        service.withdraw_invite(session, rita, invite.id)
    assert queries.access_user(session, bob, rita.id) is rita


def test_a_session_ends_by_the_database_clock(session: Session) -> None:
    alice = make_user(session)
    cookie = signing_in.start_session(session, alice)
    session.execute(text("UPDATE login_sessions SET expires_at = now() - interval '1 second'"))
    assert queries.session_holder(session, cookie) is None


def test_alice_cannot_end_charlies_session_or_token(session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    cookie = signing_in.start_session(session, charlie)
    held = queries.session_holder(session, cookie)
    assert held
    service.create_token(session, charlie, "his", ["read"])
    with pytest.raises(NotFound):
        signing_in.end_session(session, alice, held[1])
    with pytest.raises(NotFound):
        service.revoke_token(session, alice, queries.live_tokens(session, charlie)[0].id)


def test_an_annotator_gets_no_admin_token(session: Session) -> None:
    alice = make_user(session)
    for scopes in (["admin"], ["annotate", "admin"], ["root"], []):
        with pytest.raises(BadInput):
            service.create_token(session, alice, "greedy", scopes)


def test_a_reviewer_gets_the_scope_that_writes(session: Session) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    token, _ = service.issue_token(session, rita, "nightly snapshot", ["admin"])
    assert token.scopes == ["admin"]


def test_every_administrative_act_leaves_a_trace(session: Session) -> None:
    bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
    secret = service.create_invite(session, role=Role.REVIEWER, created_by=bob)
    service.accept_invite(session, secret, email="rita@example.org", name="Rita", password=PASSWORD)
    service.set_role(session, bob, alice, Role.REVIEWER)
    service.disable(session, bob, alice)
    service.enable(session, bob, alice)
    service.create_token(session, bob, "script", ["admin"])
    service.revoke_token(session, bob, queries.live_tokens(session, bob)[0].id)
    service.set_password(session, alice, "another long password", actor=bob)
    assert actions(session) == [
        "invite.created",
        "invite.used",
        "user.role_changed",
        "user.disabled",
        "user.signed_out",
        "user.enabled",
        "token.created",
        "token.revoked",
        "user.password_changed",
        "user.signed_out",
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET action = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "TRUNCATE users CASCADE",
    ],
)
def test_the_audit_trail_cannot_be_rewritten(session: Session, change: str) -> None:
    service.audit(session, None, "test.happened", "user", None)
    session.flush()
    with pytest.raises(DBAPIError, match="append-only"):
        session.execute(text(change))
