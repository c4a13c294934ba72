"""What strangers may send before anybody knows who they are."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.web import STRANGERS_LIMIT_BYTES

FORMS = ["/login", "/theme", "/invite/no-such-invite"]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_large_form_of_a_stranger_is_refused_unread(
    client: TestClient, path: str, kind: str, *, is_announced: bool
) -> None:
    body = b"&" * (STRANGERS_LIMIT_BYTES + 1)
    sent = body if is_announced else iter([body])
    answer = client.post(path, content=sent, headers={"content-type": kind})
    assert answer.status_code == 413
    assert "larger than the 16 KiB" in answer.text


def test_a_long_password_is_still_read(client: TestClient) -> None:
    answer = client.post("/login", data={"email": "alice@example.org", "password": "ä" * 256})
    assert answer.status_code == 422
