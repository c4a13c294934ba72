"""Bob, signed in, and the doorbell that rings."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.jobs import Job
from tests.factories import current_round, make_user, sign_in


@pytest.fixture
def bob(session: Session, client: TestClient) -> User:
    """An admin whose browser ``client`` is."""
    current_round(session)
    user = make_user(session, Role.ADMIN, "Bob")
    sign_in(client, user)
    return user


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that were sent, in order."""
    sent: list[Job] = []
    monkeypatch.setattr("app.kernel.jobs.ring", lambda job, *_: sent.append(job))
    return sent
