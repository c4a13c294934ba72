"""Bob adds a source, weighs it and withdraws it, by the page and by a program; nobody else does."""

from __future__ import annotations

import hashlib
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Role
from app.kernel.settings import get_settings
from app.preferences import export
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter
from app.prompts.intake import SentFile
from app.sources import queries, service
from app.sources.forms import SourceIn
from app.sources.models import Source
from app.sources.storing import stored
from app.upkeep.audit import audit
from tests.factories import current_round, make_user, sign_in
from training.data import snapshot

PAIRS = [{"prompt": f"Why {n}?", "chosen": f"So {n}.", "rejected": f"No {n}."} for n in range(3)]
TIE: dict[str, Any] = {"prompt": "Who?", "responses": [{"text": "a", "rank": 1}, {"text": "b", "rank": 1}]}
ABOUT = {"name": "HelpSteer 3", "kind": "preferences", "origin": "human", "licence": "CC BY 4.0"}


@pytest.fixture(autouse=True)
def folder(data_dir: Path) -> Iterator[Path]:
    shutil.rmtree(data_dir / "sources", ignore_errors=True)  # what other tests of this worker added
    yield data_dir / "sources"
    shutil.rmtree(data_dir / "sources", ignore_errors=True)


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def headers(session: Session, role: Role, name: str = "Bob") -> dict[str, str]:
    current_round(session)
    user = make_user(session, role, name)
    token = accounts.create_token(session, user, "script", accounts.allowed_scopes(user))
    session.commit()
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def bob(session: Session) -> dict[str, str]:
    return headers(session, Role.ADMIN)


def post(client: TestClient, who: dict[str, str], content: bytes, name: str = "x.jsonl", **settings: Any) -> Any:
    about = {"settings": json.dumps(ABOUT | settings)}
    return client.post("/api/v1/sources", files={"file": (name, content)}, data=about, headers=who)


def test_a_source_is_its_rows_with_their_hash_and_weighs_nothing(
    client: TestClient, session: Session, bob: dict[str, str], folder: Path
) -> None:
    answer = post(client, bob, lines(*PAIRS))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["rows"], made["weight"], made["left_out"], made["origin"]) == (3, 0.0, {}, "human")
    [kept] = folder.iterdir()
    rows = (kept / "rows.jsonl").read_bytes()
    assert hashlib.sha256(rows).hexdigest() == made["sha256"]
    manifest = json.loads((kept / "manifest.json").read_text())
    assert (manifest["sha256"], manifest["rows"], manifest["licence"]) == (made["sha256"], 3, "CC BY 4.0")
    read, digest = snapshot.read_file(kept / "rows.jsonl", 0)
    assert (len(read), digest, read[0].chosen) == (3, made["sha256"], "So 0."), "training reads what was stored"
    assert queries.chosen(session) == []
    assert audit(session) == []
    (kept / "rows.jsonl").write_bytes(rows + b"\n")
    assert [each.row for each in audit(session)] == [f"source {made['id']}"]


def test_a_row_that_cannot_be_used_refuses_the_file_or_is_left_out_and_counted(
    client: TestClient, session: Session, bob: dict[str, str], folder: Path
) -> None:
    content = lines(PAIRS[0], TIE, PAIRS[1], PAIRS[0], {"prompt": "Alone?"})
    answer = post(client, bob, content)
    assert answer.status_code == 422
    assert "3 lines are refused. The first: line 2 finds no response better" in answer.json()["detail"]
    assert [each["line"] for each in answer.json()["errors"]] == [2, 4, 5]
    assert list(folder.iterdir()) == [], "nothing stays of what was refused"
    made = post(client, bob, content, leave_out_refused=True).json()
    assert made["rows"] == 2
    assert sorted(made["left_out"].values()) == [1, 1, 1]
    assert any("says the same as line 1" in reason for reason in made["left_out"])
    again = post(client, bob, content, leave_out_refused=True)
    assert again.status_code == 422
    assert again.json()["errors"][0]["loc"] == "name"
    assert len(list(folder.iterdir())) == 1
    assert session.scalar(select(func.count()).select_from(Source)) == 1


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (b"", "x.jsonl", "empty"),
        (b"%PDF-1.7", "x.jsonl", "PDF"),
        (lines(TIE), "x.jsonl", "no row that can be learnt from. The first: line 1 finds"),
        (lines(*PAIRS), "x.txt", "name must end"),
    ],
)
def test_a_file_of_something_else_is_refused_whole(
    client: TestClient, bob: dict[str, str], folder: Path, content: bytes, name: str, why: str
) -> None:
    answer = post(client, bob, content, name, leave_out_refused=True)
    assert answer.status_code == 422
    assert why in answer.json()["detail"]
    assert not list(folder.glob("*"))


def test_the_same_request_sent_again_adds_nothing(
    client: TestClient, session: Session, bob: dict[str, str], folder: Path
) -> None:
    who = bob | {"idempotency-key": "one"}
    first, again = post(client, who, lines(*PAIRS)), post(client, who, lines(*PAIRS))
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len(list(folder.iterdir())) == 1


def test_a_weight_is_set_until_the_source_is_withdrawn(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    made = post(client, bob, lines(*PAIRS)).json()
    url = f"/api/v1/sources/{made['id']}"
    assert client.patch(url, json={"weight": 0.5}, headers=bob).json()["weight"] == 0.5
    assert [each.name for each in queries.chosen(session)] == ["HelpSteer 3"]
    for wrong in (-1, 11, "much", True, None):
        assert client.patch(url, json={"weight": wrong}, headers=bob).status_code == 422
    gone = client.post(f"{url}/withdraw", headers=bob).json()
    assert gone["weight"] == 0
    assert gone["withdrawn_at"]
    assert client.post(f"{url}/withdraw", headers=bob).json()["withdrawn_at"] == gone["withdrawn_at"]
    assert client.patch(url, json={"weight": 1}, headers=bob).status_code == 409
    assert queries.chosen(session) == []
    detail = client.get(url, headers=bob).json()
    assert (detail["uses"], detail["sha256"]) == ([], made["sha256"])
    assert [each["id"] for each in client.get("/api/v1/sources", headers=bob).json()["sources"]] == [made["id"]]
    actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert [each for each in actions if each.startswith("source.")] == ["source.add", "source.weigh", "source.withdraw"]


def test_the_database_holds_it_as_well(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    made = session.get_one(Source, post(client, bob, lines(*PAIRS)).json()["id"])
    service.withdraw(session, None, made)
    made.weight = 1.0
    with pytest.raises(IntegrityError, match="withdrawn_weighs_nothing"):
        session.flush()


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER])
def test_reviewers_read_and_nobody_but_admins_writes(
    client: TestClient, session: Session, bob: dict[str, str], role: Role
) -> None:
    made = post(client, bob, lines(*PAIRS)).json()
    other = headers(session, role, "Rita")
    assert post(client, other, lines(*PAIRS), name="y.jsonl").status_code == 403
    url = f"/api/v1/sources/{made['id']}"
    assert client.patch(url, json={"weight": 1}, headers=other).status_code == 403
    assert client.post(f"{url}/withdraw", headers=other).status_code == 403
    assert client.get(url, headers=other).status_code == (200 if role is Role.REVIEWER else 403)


def test_nothing_of_a_source_is_exported_as_a_preference_of_people(
    client: TestClient, session: Session, bob: dict[str, str]
) -> None:
    made = post(client, bob, lines(*PAIRS)).json()
    client.patch(f"/api/v1/sources/{made['id']}", json={"weight": 1}, headers=bob)
    for shape in Shape:
        assert list(export.preview(session, shape, ExportFilter(), 10)) == []


def test_bob_adds_weighs_and_withdraws_on_the_page(client: TestClient, session: Session, bob: dict[str, str]) -> None:
    current_round(session)
    page = sign_in(client, make_user(session, Role.ADMIN, "Carol"))
    form = {"name": "Ours", "kind": "completions", "origin": "synthetic"}
    rows = lines({"prompt": "为什么?", "completion": "لأن <b>so</b>"}, {"prompt": "Who?"})
    refused = page.post("/sources", data=form, files={"file": ("x.jsonl", rows)})
    assert refused.status_code == 422
    assert "1 line is refused." in refused.text
    assert "has no answer" in refused.text
    assert 'value="Ours"' in refused.text
    assert "Choose a file first." in page.post("/sources", data=form, files={"file": ("", b"")}).text
    unnamed = page.post("/sources", data=form | {"name": " "}, files={"file": ("x.jsonl", rows)})
    assert "Please fill this in." in unnamed.text
    added = page.post("/sources", data=form | {"leave_out_refused": "true"}, files={"file": ("x.jsonl", rows)})
    assert added.status_code == 303
    assert "“Ours” has 1 row." in page.get("/sources").text
    made = session.scalars(select(Source)).one()
    wrong = page.post(f"/sources/{made.id}/weight", data={"weight": "lots"})
    assert wrong.status_code == 422
    assert "from 0 to 10" in wrong.text
    assert 'value="lots"' in wrong.text
    assert page.post(f"/sources/{made.id}/weight", data={"weight": "2,5"}).status_code == 303
    session.refresh(made)
    assert made.weight == 2.5
    detail = page.get(f"/sources/{made.id}").text
    assert "为什么?" in detail
    assert "&lt;b&gt;so&lt;/b&gt;" in detail
    assert "with the weight 2.5" in detail
    assert page.post(f"/sources/{made.id}/withdraw").status_code == 303
    assert "withdrawn" in page.get("/sources").text


def test_a_large_file_is_read_row_by_row(folder: Path) -> None:
    """Of the rows before only a hash is held: reading takes the file once more and little beside it."""
    text = "x" * 20_000

    def peak(count: int) -> int:
        content = lines(*({"prompt": f"{n} {text}", "chosen": "a", "rejected": "b"} for n in range(count)))
        tracemalloc.start()
        with stored(SentFile("x.jsonl", content), SourceIn.model_validate(ABOUT)) as found:
            assert found.rows == count
        held = tracemalloc.get_traced_memory()[1] - len(content)
        tracemalloc.stop()
        return held

    # the whole process is traced: what another thread of it holds meanwhile can only add
    few, many = (min(peak(count) for _ in range(3)) for count in (50, 400))
    assert many < few + 1_000_000
    assert get_settings().sources_dir == folder
    assert not list(folder.iterdir()), "what nobody keeps goes"
