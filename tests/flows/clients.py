"""People of an installation under test, and what they do over the API."""

from __future__ import annotations

import io
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import httpx

from app.kernel.settings import ROOT
from tests.flows.installation import Installation
from tests.patience import PATIENCE, eventually


@dataclass
class Client:
    """One person's JSON client. A refused connection is tried again with the same key, as a good client does."""

    http: httpx.Client
    acknowledged: list[int] = field(default_factory=list)

    def call(self, method: str, path: str, key: str | None = None, **rest: Any) -> httpx.Response:
        headers = {"Idempotency-Key": key or secrets.token_hex(12)}

        def attempt() -> httpx.Response | None:
            try:
                answer = self.http.request(method, f"/api/v1{path}", headers=headers, **rest)
            except httpx.TransportError:
                return None
            return None if answer.status_code == 503 else answer

        return eventually(attempt, PATIENCE, f"an answer to {method} {path}")


def person(installation: Installation, email: str, role: str, scope: str) -> Client:
    """An account and a token, made on the command line."""
    added = installation.corral(
        "user", "add", email, "--name", email.split("@", maxsplit=1)[0], "--role", role, stdin="a long password\n"
    )
    assert added.returncode == 0, added.stderr
    made = installation.corral("token", "create", email, "--name", "test", "--scope", scope)
    assert made.returncode == 0, made.stderr
    token = made.stdout.split()[-1]
    return Client(
        httpx.Client(base_url=installation.url, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE)
    )


def upload(client: Client, name: str, skip: int, count: int) -> int:
    lines = (ROOT / "app" / "prompts" / "sample.jsonl").read_text().splitlines()
    short = [line for line in lines if len(line) < 900 and '"tools"' not in line][skip : skip + count]
    answer = client.call(
        "POST",
        "/batches",
        files={"file": (f"{name}.jsonl", io.BytesIO("\n".join(short).encode()))},
        data={"settings": json.dumps({"name": name, "candidates_per_prompt": 2, "max_tokens": 40})},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def wait_ready(installation: Installation, batch: int, count: int) -> None:
    query = "SELECT count(*) FROM prompts WHERE state = 'ready' AND batch_id = :batch"
    eventually(
        lambda: installation.scalar(query, batch=batch) == count, 600, f"{count} prompts of batch {batch} answered"
    )
