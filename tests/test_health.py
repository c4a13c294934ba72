"""What a load balancer and a container's probe are told."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session


def test_with_its_tables_it_is_ready(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    "change",
    ["DROP TABLE alembic_version", "DELETE FROM alembic_version", "UPDATE alembic_version SET version_num = 'older'"],
)
def test_without_the_tables_of_this_version_it_is_not_ready_and_says_when_to_ask_again(
    client: TestClient, session: Session, change: str
) -> None:
    session.execute(text(change))
    session.commit()

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert "corral db upgrade" in answer.json()["detail"]
    assert client.get("/healthz").status_code == 200
