"""What strangers may send before anybody knows who they are."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.shell.bodies import FORM_LIMIT_FIELDS, STRANGERS_LIMIT_BYTES, STRANGERS_LIMIT_FIELDS
from tests.factories import make_user, sign_in
from tests.security.doors import Door

FORM = {"content-type": "application/x-www-form-urlencoded"}
FOR_FILES = [
    "POST /api/v1/batches",
    "POST /api/v1/batches/{batch_id:int}/prompts",
    "POST /api/v1/batches/{batch_id:int}/prompts/preview",
    "POST /api/v1/batches/{batch_id}/documents",
    "POST /api/v1/sources",
    "POST /batches/new",
    "POST /batches/{batch_id}/prompts/preview",
    "POST /batches/{batch_id}/documents",
    "POST /syntheses",
    "POST /sources",
]
FORMS = ["/login", "/theme", "/locale", "/invite/no-such-invite"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_large_form_of_a_stranger_is_refused_unread(client: TestClient, path: str, *, is_announced: bool) -> None:
    body = b"a" * (STRANGERS_LIMIT_BYTES + 1)
    sent = body if is_announced else iter([body])
    answer = client.post(path, content=sent, headers=FORM)
    assert answer.status_code == 413
    assert "larger than the 16 KiB" in answer.text


def test_a_long_password_is_still_read(client: TestClient) -> None:
    answer = client.post("/login", data={"email": "alice@example.org", "password": "ä" * 256})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("path", "fields"), [*((path, STRANGERS_LIMIT_FIELDS) for path in FORMS), ("/annotate", FORM_LIMIT_FIELDS)]
)
@pytest.mark.parametrize("separator", [b"&", b"a&", b"a=1&"])
def test_a_form_of_many_fields_is_refused_before_it_is_parsed(
    client: TestClient, path: str, fields: int, separator: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starlette.formparsers.multipart.QuerystringParser.write", None)
    pieces = iter([separator * (fields // 2), separator * (fields // 2 + 1)])
    answer = client.post(path, content=pieces, headers=FORM)
    assert answer.status_code == 422
    assert f"more than the {fields} fields" in answer.text


def test_a_body_of_files_is_taken_only_where_files_are(
    all_doors: list[Door], client: TestClient, session: Session
) -> None:
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    taken = []
    for door in all_doors:
        if door.method not in {"GET", "HEAD"}:
            answer = door.knock(client, files={"file": ("x.jsonl", b"{}")})
            if "This form accepts no files" not in answer.text or answer.status_code != 422:
                taken.append(str(door))
    assert taken == FOR_FILES
