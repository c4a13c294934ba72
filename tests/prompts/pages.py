"""Short words for what Bob does on the pages."""

from __future__ import annotations

import json

from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.prompts.models import Batch, Prompt, Upload


def jsonl(*records: object) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


def upload(client: TestClient, content: bytes, name: str = "questions.jsonl") -> str:
    answer = client.post("/batches/new", files={"file": (name, content)})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def count(session: Session, model: type[Batch | Prompt | Upload]) -> int:
    return session.scalar(select(func.count()).select_from(model)) or 0
