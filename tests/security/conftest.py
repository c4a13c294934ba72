from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from tests.security.doors import Door, doors


@pytest.fixture(scope="session")
def all_doors(web: FastAPI) -> list[Door]:
    return doors(web)


@pytest.fixture
def stranger(web: FastAPI, session: Session) -> Iterator[TestClient]:
    """A client that says nothing of where its requests come from."""
    with TestClient(web, follow_redirects=False) as client:
        yield client
