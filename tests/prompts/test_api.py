"""Bob's script imports a batch and moves it through its states; its errors say the line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Role
from app.prompts.models import Batch, Prompt, Upload
from tests.factories import current_round, make_batch, make_prompt, make_user

GOOD = b'{"prompt": "One?", "capability": "maths"}\n{"prompt": "Two?", "capability": "maths"}\n'
BAD = GOOD + b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n'


def headers(session: Session, role: Role, scopes: list[str]) -> dict[str, str]:
    current_round(session)
    user = make_user(session, role, "Bob")
    token = accounts.create_token(session, user, "script", scopes)
    session.commit()
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def bob(session: Session) -> dict[str, str]:
    return headers(session, Role.ADMIN, ["admin"])


def post(client: TestClient, who: dict[str, str], content: bytes = GOOD, **settings: Any) -> Any:
    fields = {"settings": json.dumps({"name": "Questions"} | settings)}
    return client.post("/api/v1/batches", files={"file": ("x.jsonl", content)}, data=fields, headers=who)


def prompts(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Prompt)) or 0


def test_a_file_becomes_a_batch(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    answer = post(client, bob, candidates_per_prompt=2, temperature=0.3)

    assert answer.status_code == 201
    made = answer.json()
    assert (made.pop("left_out"), made.pop("notes"), made.pop("unseen")) == ([], [], [])
    assert made.pop("left_out_by_reason") == []
    assert made.pop("responses") == {"prompts": 0, "count": 0, "models": {}}
    assert answer.headers["location"] == f"/api/v1/batches/{made['id']}"
    assert (made["state"], made["round"], made["capability"]) == ("preparing", 1, "maths")
    assert made["sampling"] == {"temperature": 0.3}
    assert made["progress"] == {
        "prompts": 2,
        "pending": 2,
        "generating": 0,
        "ready": 0,
        "unanimous": 0,
        "quarantined": 0,
        "withdrawn": 0,
        "comparisons": 0,
        "comparisons_done": 0,
        "comparisons_unstarted": 0,
        "checks": 0,
        "checks_done": 0,
        "unchecked": 0,
    }
    assert client.get(answer.headers["location"], headers=bob).json() == made
    assert client.get("/api/v1/batches", headers=bob).json() == {"batches": [made], "next": None}


def test_refused_lines_come_as_problem_json_and_nothing_is_stored(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    answer = post(client, bob, BAD)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["line"] == 3
    assert "ends with the assistant" in error["reason"]
    assert prompts(session) == 0
    assert session.scalars(select(Upload)).all() == []
    assert session.scalars(select(Batch)).all() == []


def test_text_that_cannot_be_stored_is_refused_in_words(client: TestClient, bob: dict[str, str]) -> None:
    fields = {"settings": json.dumps({"name": "Questions"})}
    header = {"file": ("x.csv", b"tex\xed\xa0\x80t,id\nhello,1\n")}

    by_header = client.post("/api/v1/batches", files=header, data=fields, headers=bob)
    by_line = post(client, bob, GOOD + b'{"\\u0000": 1, "\\u0000": 2}\n')

    assert (by_header.status_code, by_line.status_code) == (422, 422)
    assert "lone surrogate" in by_header.json()["detail"]
    assert by_line.json()["errors"] == [{"line": 3, "reason": 'has the key "\\u0000" twice: keep one'}]


def test_refused_lines_are_left_out_when_asked_and_named(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    answer = post(client, bob, BAD, leave_out_refused=True)

    assert answer.status_code == 201
    (left_out,) = answer.json()["left_out"]
    assert left_out["line"] == 3
    assert "ends with the assistant" in left_out["reason"]
    assert prompts(session) == 2


def test_a_retry_with_the_same_key_gets_the_same_batch(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    who = bob | {"idempotency-key": "one-import"}

    first, again = post(client, who), post(client, who)
    other = post(client, who, GOOD + b'{"prompt": "Three?"}\n')

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert prompts(session) == 2


@pytest.mark.parametrize(
    ("settings", "loc"),
    [
        ({"candidates_per_prompt": 1}, "settings.candidates_per_prompt"),
        ({"name": ""}, "settings.name"),
        ({"state": "open"}, "settings.state"),
        ({"temperature": "NaN"}, "settings.temperature"),
    ],
)
def test_wrong_settings_name_their_field(
    client: TestClient, session: Session, bob: dict[str, str], settings: dict[str, Any], loc: str
) -> None:
    answer = post(client, bob, **settings)

    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [loc]
    assert prompts(session) == 0


def test_a_request_that_is_no_upload_is_refused_in_words(client: TestClient, bob: dict[str, str]) -> None:
    no_file = client.post("/api/v1/batches", data={"settings": "{}"}, files={}, headers=bob)
    as_json = client.post("/api/v1/batches", json={"name": "x"}, headers=bob)
    no_settings = client.post("/api/v1/batches", files={"file": ("x.jsonl", GOOD)}, headers=bob)
    extra = client.post("/api/v1/batches", files={"file": ("x.jsonl", GOOD)}, data={"role": "admin"}, headers=bob)
    broken = client.post(
        "/api/v1/batches",
        content=b"--x\r\nnonsense",
        headers=bob | {"content-type": "multipart/form-data; boundary=x"},
    )
    unbounded = client.post("/api/v1/batches", content=b"x", headers=bob | {"content-type": "multipart/form-data"})

    for answer in (no_file, as_json, no_settings, extra, broken, unbounded):
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]


def test_a_million_form_fields_are_refused(client: TestClient, bob: dict[str, str]) -> None:
    fields = "&".join(f"f{n}=1" for n in range(100_000))
    kind = {"content-type": "application/x-www-form-urlencoded"}

    assert client.post("/api/v1/batches", content=fields, headers=bob | kind).status_code == 422


def test_the_state_changes_once_and_says_what_it_is(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    url = f"/api/v1/batches/{post(client, bob).json()['id']}/state"

    def ask(state: str) -> tuple[int, str]:
        answer = client.post(url, json={"state": state}, headers=bob)
        return answer.status_code, answer.json().get("state", answer.json().get("detail"))

    assert ask("open") == (200, "open")
    assert ask("open") == (200, "open")
    assert ask("paused") == (200, "paused")
    assert ask("closed") == (200, "closed")
    status, said = ask("open")
    assert status == 409
    assert "final" in said
    assert ask("melted")[0] == 422


def test_pages_of_batches_follow_each_other(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    ids = [make_batch(session).id for _ in range(5)]

    first = client.get("/api/v1/batches?limit=3", headers=bob).json()
    second = client.get(f"/api/v1/batches?limit=3&before={first['next']}", headers=bob).json()

    assert [batch["id"] for batch in first["batches"] + second["batches"]] == ids[::-1]
    assert second["next"] is None


def test_reading_and_writing_need_their_scope_and_role(client: TestClient, session: Session) -> None:
    batch = make_prompt(session, make_batch(session)).batch_id
    reader = headers(session, Role.ADMIN, ["read"])
    rita = headers(session, Role.REVIEWER, ["read"])
    alice = headers(session, Role.ANNOTATOR, ["annotate", "read"])

    for who in (reader, rita):
        assert client.get(f"/api/v1/batches/{batch}", headers=who).status_code == 200
        assert client.get("/api/v1/batches", headers=who).status_code == 200
    for who in (reader, rita, alice):
        assert post(client, who).status_code == 403
        assert client.post(f"/api/v1/batches/{batch}/state", json={"state": "closed"}, headers=who).status_code == 403
    for who, status in ((alice, 403), ({}, 401)):
        assert client.get(f"/api/v1/batches/{batch}", headers=who).status_code == status
        assert client.get("/api/v1/batches", headers=who).status_code == status
    assert client.get("/api/v1/batches/999", headers=reader).status_code == 404


def test_the_description_of_the_api_shows_the_upload(client: TestClient, bob: dict[str, str]) -> None:
    described = client.get("/api/v1/openapi.json", headers=bob).json()

    upload = described["paths"]["/api/v1/batches"]["post"]
    fields = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert "candidates_per_prompt" in fields["settings"]["properties"]
    referred = re.findall(r"#/components/schemas/(\w+)", json.dumps(upload))
    assert set(referred) <= described["components"]["schemas"].keys()
    assert "Idempotency-Key" in [parameter["name"] for parameter in upload["parameters"]]
