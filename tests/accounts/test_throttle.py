from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts import passwords, signing_in
from app.accounts.models import User
from app.kernel.addresses import network
from app.kernel.errors import TooMany
from tests.factories import PASSWORD, make_user

OFFICE, CAFE, ATTACKER = "192.0.2.1", "192.0.2.2", "203.0.113.9"


def attack(session: Session, email: str, address: str, tries: int) -> int:
    """Try wrong passwords; says how many of the tries were refused unchecked."""
    refused = 0
    for number in range(tries):
        try:
            assert signing_in.authenticate(session, email, f"guess number {number}", address) is None
        except TooMany:
            refused += 1
    return refused


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of tries without their cost: the throttle, not argon2, is under test."""
    monkeypatch.setattr(passwords, "verify", lambda stored, password: stored is not None and password == PASSWORD)


@pytest.mark.slow
def test_a_thousand_guesses_are_throttled_and_the_owner_still_gets_in(session: Session, fast: None) -> None:
    alice = make_user(session)
    assert attack(session, alice.email, ATTACKER, 1000) == 995
    assert signing_in.authenticate(session, alice.email, PASSWORD, OFFICE) is alice


def test_the_owners_browser_gets_in_while_a_botnet_guesses_even_from_the_same_address(
    session: Session, fast: None
) -> None:
    alice = make_user(session)
    signing_in.start_session(session, alice, device="the cookie of her browser")
    for bot in range(120):
        attack(session, alice.email, f"198.51.100.{bot}", 1)
    attack(session, alice.email, OFFICE, 10)
    with pytest.raises(TooMany):
        signing_in.authenticate(session, alice.email, PASSWORD, CAFE)
    assert signing_in.authenticate(session, alice.email, PASSWORD, OFFICE, "the cookie of her browser") is alice


def test_a_made_up_device_cookie_helps_nobody(session: Session, fast: None) -> None:
    alice = make_user(session)
    attack(session, alice.email, ATTACKER, 10)
    with pytest.raises(TooMany):
        signing_in.authenticate(session, alice.email, "a guess", ATTACKER, "made up")


def test_the_device_cookie_of_one_person_does_not_open_the_account_of_another(session: Session, fast: None) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    signing_in.start_session(session, charlie, device="the cookie of Charlie")
    attack(session, alice.email, ATTACKER, 10)
    with pytest.raises(TooMany):
        signing_in.authenticate(session, alice.email, "a guess", ATTACKER, "the cookie of Charlie")


def test_one_address_cannot_try_a_password_on_every_account(session: Session, fast: None) -> None:
    refused = sum(attack(session, f"user{number}@example.org", ATTACKER, 1) for number in range(100))
    assert refused == 70


def test_an_ipv6_customer_is_one_address(session: Session, fast: None) -> None:
    alice = make_user(session)
    refused = sum(attack(session, alice.email, f"2001:db8::{number:x}", 1) for number in range(20))
    assert refused == 15
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db9::1")
    assert network("::ffff:192.0.2.1") == "192.0.2.1"


def test_the_wait_grows_and_ends(session: Session, fast: None) -> None:
    alice = make_user(session)
    attack(session, alice.email, ATTACKER, 5)
    with pytest.raises(TooMany) as first:
        signing_in.authenticate(session, alice.email, "a guess", ATTACKER)
    session.execute(text("UPDATE login_attempts SET at = at - interval '2 seconds'"))
    attack(session, alice.email, ATTACKER, 1)
    with pytest.raises(TooMany) as second:
        signing_in.authenticate(session, alice.email, "a guess", ATTACKER)
    assert first.value.retry_after == 1
    assert second.value.retry_after == 2
    session.execute(text("UPDATE login_attempts SET at = at - interval '15 minutes'"))
    assert signing_in.authenticate(session, alice.email, PASSWORD, ATTACKER) is alice


def test_a_success_forgets_the_slips_before_it(session: Session, fast: None) -> None:
    alice = make_user(session)
    for _ in range(5):
        attack(session, alice.email, OFFICE, 4)
        assert signing_in.authenticate(session, alice.email, PASSWORD, OFFICE) is alice


def test_known_unknown_and_disabled_people_cost_one_hash_each(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str | None] = []

    def counting(stored: str | None, password: str) -> bool:
        hashed.append(stored)
        return False

    monkeypatch.setattr(passwords, "verify", counting)
    bob = make_user(session, name="Bob")
    bob.disabled_at = bob.created_at
    session.flush()
    known: User = make_user(session)
    for email in (known.email, bob.email, "nobody@example.org", "not an address"):
        assert signing_in.authenticate(session, email, "a guess", OFFICE) is None
    assert len(hashed) == 4


def test_an_unknown_account_is_verified_against_a_hash_as_costly_as_a_real_one() -> None:
    real, nobody = passwords.hash_password(PASSWORD), passwords._nobody()
    assert real.split("$")[1:4] == nobody.split("$")[1:4]
    assert not passwords.verify(None, "the account that does not exist")
