"""The same prompts as JSON Lines, JSON, CSV and Parquet, by the page and by the API, down to the rows of the database."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.kernel.jobs import Job
from app.prompts.models import Prompt
from tests.prompts.pages import jsonl, upload

# With everything that a format could lose: letters of other scripts, quotes, line ends, spaces at the edges, an empty cell.
RECORDS: list[dict[str, str]] = [
    {"id": "a", "prompt": "Wie heißt “漢字” 😀?", "capability": "languages", "reference": "", "source": "school"},
    {"id": "b", "prompt": ' two\n"lines", and a comma, ', "capability": "", "reference": "no", "source": "<b>web</b>"},
]
STORED = [
    ("a", [{"role": "user", "content": RECORDS[0]["prompt"]}], "languages", None, {"source": "school"}),
    ("b", [{"role": "user", "content": RECORDS[1]["prompt"]}], None, "no", {"source": "<b>web</b>"}),
]


def as_csv(delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(RECORDS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(RECORDS)
    return text.getvalue().encode()


def as_parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), file)
    return file.getvalue()


FILES = {
    "x.jsonl": jsonl(*RECORDS),
    "x.json": json.dumps({"prompts": RECORDS}, indent=2).encode(),
    "x.csv": as_csv(","),
    "x.tsv": as_csv("\t"),
    "x.parquet": as_parquet(),
}


def by_page(client: TestClient, name: str, content: bytes) -> None:
    page = upload(client, content, name)
    preview = client.get(page).text
    assert "Import 2 prompts" in preview
    assert "Wie heißt “漢字” 😀?" in preview
    settings = {"name": "Every format", "candidates_per_prompt": "2", "annotators_per_prompt": "1"}
    settings |= {"edit_policy": "optional", "max_tokens": "64"}
    assert client.post(f"{page}/confirm", data=settings).status_code == 303


def by_api(client: TestClient, name: str, content: bytes) -> None:
    fields = {"settings": json.dumps({"name": "Every format"})}
    answer = client.post("/api/v1/batches", files={"file": (name, content)}, data=fields)
    assert answer.status_code == 201, answer.text
    assert answer.json()["progress"]["prompts"] == 2


@pytest.mark.parametrize("way", [by_page, by_api])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_any_format_becomes_the_same_rows(
    client: TestClient,
    session: Session,
    bob: User,
    rung: list[Job],
    name: str,
    way: Callable[[TestClient, str, bytes], None],
) -> None:
    way(client, name, FILES[name])

    assert [stored(prompt) for prompt in session.scalars(select(Prompt).order_by(Prompt.id))] == STORED
    assert rung == [Job.GENERATE, Job.DETECT_LANGUAGES]


def stored(prompt: Prompt) -> tuple[str, list[dict[str, Any]], str | None, str | None, dict[str, Any]]:
    return prompt.external_id, prompt.messages, prompt.capability, prompt.reference, prompt.extra
