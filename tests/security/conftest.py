from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.main import create_app
from tests.security.doors import Door, doors


@pytest.fixture(scope="session")
def all_doors(environment: None) -> list[Door]:
    return doors(create_app())


@pytest.fixture
def stranger(session: Session) -> Iterator[TestClient]:
    """A client that says nothing of where its requests come from."""
    with TestClient(create_app(), follow_redirects=False) as client:
        yield client
