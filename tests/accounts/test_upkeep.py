from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.accounts import service, signing_in, upkeep
from app.accounts.models import Invite, LoginAttempt, LoginSession, Role
from tests.factories import make_user


def count(session: Session, table: type[LoginAttempt | LoginSession | Invite]) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def fill(session: Session) -> None:
    alice = make_user(session)
    signing_in.start_session(session, alice)
    service.create_invite(session, role=Role.ANNOTATOR)
    signing_in.authenticate(session, alice.email, "a wrong password", "192.0.2.1")
    session.flush()


def test_what_is_new_is_kept(session: Session) -> None:
    fill(session)
    upkeep.forget_old(session)
    assert [count(session, table) for table in (LoginAttempt, LoginSession, Invite)] == [1, 1, 1]


def test_what_is_old_goes(session: Session) -> None:
    fill(session)
    session.execute(text("UPDATE login_attempts SET at = at - interval '1 hour'"))
    session.execute(text("UPDATE login_sessions SET expires_at = now() - interval '401 days'"))
    session.execute(text("UPDATE invites SET expires_at = now() - interval '31 days'"))
    upkeep.forget_old(session)
    assert [count(session, table) for table in (LoginAttempt, LoginSession, Invite)] == [0, 0, 0]


def test_an_expired_session_still_vouches_for_its_device(session: Session) -> None:
    fill(session)
    session.execute(text("UPDATE login_sessions SET expires_at = now() - interval '100 days'"))
    upkeep.forget_old(session)
    assert count(session, LoginSession) == 1
