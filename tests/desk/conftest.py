"""Who works at the desk and whose annotations lie there."""

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from tests.factories import make_user


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)
