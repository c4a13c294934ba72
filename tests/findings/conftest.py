"""The cast."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from tests.factories import make_user


@pytest.fixture
def alice(session: Session) -> User:
    """Who annotates."""
    return make_user(session)


@pytest.fixture
def rita(session: Session) -> User:
    """Who reviews."""
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def bob(session: Session) -> User:
    """Who administers."""
    return make_user(session, Role.ADMIN, "Bob")
