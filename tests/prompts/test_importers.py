"""A format of files is one module: what it says of itself is all that upload, page and API know of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.accounts.service import create_token
from app.prompts import importers
from app.prompts.models import Prompt
from tests.factories import current_round, make_user
from tests.prompts.reading import refused_file

ONE_A_PARAGRAPH = """
from app.prompts.importers import Importer

IMPORTER = Importer(
    name="Paragraphs",
    suffixes=(".para", ".paragraphs"),
    unit="paragraph",
    why_not=lambda text, suffix: None if b"\\n\\n" in text else f"{suffix} has one paragraph: part them by a blank line.",
    rows=lambda text, limits: enumerate(text.decode().strip().split("\\n\\n"), 1),
)
"""


@pytest.fixture
def paragraphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A format that is one file."""
    (tmp_path / "paragraphs.py").write_text(ONE_A_PARAGRAPH)
    monkeypatch.setattr(importers, "__path__", [*importers.__path__, str(tmp_path)])
    importers.importers.cache_clear()
    yield
    importers.importers.cache_clear()


@pytest.fixture
def token(session: Session) -> dict[str, str]:
    current_round(session)
    made = create_token(session, make_user(session, Role.ADMIN, "Bob"), "script", ["admin"])
    session.commit()
    return {"authorization": f"Bearer {made}"}


@pytest.mark.usefixtures("paragraphs")
def test_a_format_of_one_file_is_imported_by_the_api(
    client: TestClient, session: Session, token: dict[str, str]
) -> None:
    file = ("x.para", "Why?\n\nWhy\nnot?\n\n \n\n".encode("utf-16"))
    settings = json.dumps({"name": "Questions", "leave_out_refused": True})

    answer = client.post("/api/v1/batches", files={"file": file}, data={"settings": settings}, headers=token)

    assert answer.status_code == 201, answer.text
    stored = session.execute(select(Prompt.external_id, Prompt.messages).order_by(Prompt.id)).all()
    assert [tuple(row) for row in stored] == [
        ("paragraph-1", [{"role": "user", "content": "Why?"}]),
        ("paragraph-2", [{"role": "user", "content": "Why\nnot?"}]),
    ]


@pytest.mark.usefixtures("paragraphs", "bob")
def test_it_says_why_a_file_is_not_of_it_and_every_list_names_it(client: TestClient) -> None:
    page = client.get("/batches/new").text

    assert refused_file(b"Why?", "x.paragraphs") == ".paragraphs has one paragraph: part them by a blank line."
    assert ".parquet, .arrow or .para," in refused_file(b"Why?", "x.txt")
    assert "CSV, Parquet, Arrow or Paragraphs, up to" in page
    assert 'accept=".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.arrow,.para,.paragraphs,.gz,.zip"' in page


@pytest.mark.parametrize("name", list(importers.importers()))
def test_every_format_says_in_one_sentence_why_a_file_is_not_of_it(name: str) -> None:
    importer = importers.importers()[name]
    other = b'[{"prompt": "Why?"}]' if importer.is_table or importer.suffixes[0] == ".jsonl" else b"Why? Because."

    said = importer.why_not(other, importer.suffixes[0])

    assert said is not None
    assert said.startswith("This ")
    assert said.endswith(".")
    assert said == refused_file(other, f"x{importer.suffixes[-1]}").replace("TSV", "CSV")


def test_a_module_without_an_importer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forgotten.py").write_text("")
    monkeypatch.setattr(importers, "__path__", [*importers.__path__, str(tmp_path)])

    with pytest.raises(TypeError, match=r"importers\.forgotten defines no IMPORTER"):
        importers.importers.__wrapped__()
