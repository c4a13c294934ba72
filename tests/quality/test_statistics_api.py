"""The JSON of statistics."""

from __future__ import annotations

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from tests.factories import make_annotation, make_user, sign_in


def test_one_reads_ones_own_numbers_and_staff_everybodys(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    make_annotation(session, alice)
    sign_in(client, alice)
    own = client.get("/api/v1/me/statistics").json()
    assert own["annotations"] == 1
    assert own["gold"] == {"k": 0, "n": 0, "low": 0.0, "high": 1.0}
    assert own["first_preferred"]["n"] == 1
    assert client.get("/api/v1/review/annotators").status_code == 403
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    (row,) = client.get("/api/v1/review/annotators").json()["annotators"]
    assert (row["pseudonym"], row["name"], row["statistics"]["annotations"]) == (alice.pseudonym, None, 1)
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    page = client.get("/api/v1/review/annotators?limit=1").json()
    assert (page["annotators"][0]["name"], page["next"]) == ("Alice", None)
