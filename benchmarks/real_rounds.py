"""What benchmarks that play real rounds have in common: an installation of its own, and a program that uses it over HTTP.

The installation is ``corral up`` over a folder (PostgreSQL, broker, workers, engine), with sizes as settings of the product. The
program uploads prompts, judges, and starts a training; everything else is the product's. What is finished stays in the folder, so
that a benchmark that is given again goes on where it was.
"""

from __future__ import annotations

import io
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text

from benchmarks.rounds_add_up import with_time
from tests.flows.installation import Installation, running

PATIENCE = 7_200.0
"""Seconds that one step may take."""
TRIES = 60
PEOPLE = {"admin": ("bob@example.org", "admin"), "annotator": ("alice@example.org", "annotate")}

Judgement = Callable[[dict[str, Any]], dict[str, Any]]
"""What is said of an item: ``outcome``; where it is ranked ``wins`` (0 or 1) and ``strength``, and perhaps ``edited_text``."""


def settings_of(
    *, held_out: int, samples: int, sampled: int, checked: int, tokens: int, **more: object
) -> dict[str, str]:
    """Those of an installation: ``samples`` of each of ``sampled`` prompts are imitated, ``checked`` prompts measured."""
    values: dict[str, object] = {
        "SAMPLE_BATCH": "false",
        "HELD_OUT_PERCENT": held_out,
        "TRAINING_SAMPLES": samples,
        "TRAINING_SAMPLE_PROMPTS": sampled,
        "TRAINING_SAMPLE_TOKENS": tokens,
        "TRAINING_AVERAGE": "false",
        "CHECK_PROMPTS": checked,
        "CHECK_TOKENS": tokens,
        "SWEEP_INTERVAL": 3,
    }
    return {f"CORRAL_{name}": str(value) for name, value in (values | more).items()}


class Client:
    """JSON with a token. What is not answered is sent again under the same key, as a good client does."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=120)

    def call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """The answer.

        Raises:
            SystemExit: it was refused, or there is none for a minute.
        """
        headers = {"idempotency-key": secrets.token_hex(12)}
        for _ in range(TRIES):
            try:
                found = self.http.request(method, f"/api/v1{path}", headers=headers, **rest)
            except httpx.TransportError:
                found = None
            if found is not None and found.status_code != 503:
                if found.is_error:
                    raise SystemExit(f"{method} {path} answered {found.status_code}: {found.text[:300]}")
                return found
            time.sleep(1)
        raise SystemExit(f"no answer to {method} {path}")


def judge_all(client: Client, batch: int, judgement: Judgement) -> int:
    """Judge what there is in a batch; returns how much that was."""
    count = 0
    while (taken := client.call("POST", "/annotate/next", json={"batch_id": batch})).status_code == 200:
        item = taken.json()
        said = judgement(item)
        body = {"fencing_token": item["fencing_token"], "outcome": said["outcome"], "active_seconds": 20}
        if said["outcome"] == "ranked":
            places = [each["position"] for each in item["responses"]]
            body |= {"ranking": [[places[said["wins"]]], [places[1 - said["wins"]]]], "strengths": [said["strength"]]}
        if "edited_text" in said:
            body["edited_text"] = said["edited_text"]
        client.call("POST", f"/assignments/{item['id']}/submit", json=body)
        count += 1
    return count


class Site:
    """An installation, and the programs that use it; no step waits longer than ``seconds`` from now, where they are given."""

    def __init__(self, place: Path, settings: Mapping[str, str], seconds: float | None = None) -> None:
        self.place, self.settings = place, settings
        self.ends = None if seconds is None else time.monotonic() + seconds
        self.corral: Installation
        self.admin: Client
        self.annotator: Client

    @contextmanager
    def up(self) -> Iterator[None]:
        """Start it over the folder, and stop it behind the block."""
        self.place.mkdir(parents=True, exist_ok=True)
        with running(self.place / "var", **self.settings) as self.corral:
            self.wait(self._answers_http, "the web server")
            self.admin, self.annotator = (self._person(*PEOPLE[role], role) for role in PEOPLE)
            yield

    # ── One round ────────────────────────────────────────────────────────────────────────────────────────────────────
    def collect(
        self, number: int, records: Sequence[dict[str, Any]], settings: dict[str, Any], judgement: Judgement
    ) -> None:
        """Upload the prompts of a round as a batch, unless it is there; wait for two answers to each, and judge all pairs."""
        name = f"round {number}"
        batch = self.scalar("SELECT id FROM batches WHERE name = :name", name=name) or self._upload(
            records, {"name": name, **settings}
        )
        left = "SELECT count(*) FROM prompts WHERE batch_id = :batch AND state IN ('pending', 'generating')"
        self.timed(
            f"{number} answers",
            lambda: self.wait(lambda: self.scalar(left, batch=batch) == 0, f"answers of {name}"),
        )
        if self.scalar("SELECT state FROM batches WHERE id = :batch", batch=batch) != "open":
            self.admin.call("POST", f"/batches/{batch}/state", json={"state": "open"})
        self.timed(f"{number} judging", lambda: judge_all(self.annotator, int(str(batch)), judgement))

    def _upload(self, records: Sequence[dict[str, Any]], settings: dict[str, Any]) -> int:
        pairs = {"candidates_per_prompt": 2, "sampled_per_prompt": 2, "selection": "random", "overlap_percent": 0}
        sent = io.BytesIO("\n".join(map(json.dumps, records)).encode())
        told = {"settings": json.dumps(pairs | settings)}
        made = self.admin.call("POST", "/batches", files={"file": ("prompts.jsonl", sent)}, data=told)
        return int(made.json()["id"])

    def train(self, night: int) -> None:
        """Start it, unless it was; wait until its policy is in contest or refused, or until a gate refused a run."""
        if self.scalar("SELECT count(*) FROM training_runs WHERE kind = 'reward'") == night - 1:
            self.admin.call("POST", "/training-runs")

        def ended() -> bool:
            self._none_failed(night)
            return self.round(night)["state"] in {"challenging", "complete"} or bool(self.refused(night))

        self.wait(ended, f"the end of training {night}")

    def _none_failed(self, night: int) -> None:
        """A run that a gate refuses has an answer; one that fails otherwise has to be looked at."""
        failed = [run for run in self.runs(night) if run["state"] == "failed" and not run["refused"]]
        if failed:
            raise SystemExit(f"{failed[0]['kind']} failed: {failed[0]['error']} {failed[0]['log_tail']}")

    # ── What came of it ──────────────────────────────────────────────────────────────────────────────────────────────
    def round(self, night: int) -> dict[str, Any]:
        """The round of the training of this night; a training that a gate refused leaves its round to the next one."""
        query = """SELECT r.* FROM rounds r JOIN training_runs t ON t.round_id = r.id
            WHERE t.kind = 'reward' ORDER BY t.id OFFSET :before LIMIT 1"""
        found = self.rows(query, before=night - 1)
        return found[0] if found else {"state": "", "verdict": None, "id": 0}

    def runs(self, night: int) -> list[dict[str, Any]]:
        """Of this night, in order."""
        query = """WITH numbered AS (SELECT *, count(*) FILTER (WHERE kind = 'reward') OVER (ORDER BY id) AS night
            FROM training_runs)
            SELECT n.id, n.kind, n.state, n.refused, n.error, n.log_tail, n.step, n.baseline, n.metrics, c.path,
                   extract(epoch FROM n.finished_at - n.started_at)::float AS seconds
              FROM numbered n LEFT JOIN checkpoints c ON c.id = n.checkpoint_id WHERE night = :night ORDER BY n.id"""
        return self.rows(query, night=night)

    def refused(self, night: int) -> str:
        """What a gate said of a run of this night; nothing where none was refused."""
        return " ".join(str(run["error"]) for run in self.runs(night) if run["refused"])

    def found(self, night: int) -> list[list[dict[str, Any]]]:
        """What the gate measured of the policies of this night's round, one list of sentences a policy."""
        query = "SELECT findings FROM evaluations WHERE round_id = :round ORDER BY id"
        return [row["findings"] for row in self.rows(query, round=self.round(night)["id"])]

    # ── The installation ─────────────────────────────────────────────────────────────────────────────────────────────
    def _answers_http(self) -> bool:
        if self.corral.process.poll() is not None:
            raise SystemExit(f"corral up ended:\n{self.corral.said()[-2000:]}")
        try:
            return httpx.get(f"{self.corral.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def _person(self, email: str, scope: str, role: str) -> Client:
        name = email.partition("@")[0]
        if not self.scalar("SELECT count(*) FROM users WHERE email = :email", email=email):
            added = ("user", "add", email, "--name", name, "--role", role)
            self.corral.corral(*added, stdin="a long password\n").check_returncode()
        made = self.corral.corral("token", "create", email, "--name", "bench", "--scope", scope)
        made.check_returncode()
        return Client(self.corral.url, made.stdout.split()[-1])

    def rows(self, query: str, **values: object) -> list[dict[str, Any]]:
        """What the database says; it is only read."""
        with self.corral.database.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def scalar(self, query: str, **values: object) -> object:
        """One value from the database."""
        return self.corral.scalar(query, **values)

    def timed(self, name: str, work: Callable[[], Any]) -> None:
        """Do it, and note what it took under ``name``: the number of the round, and a stage."""
        with_time(self.place, name, work)

    def wait(self, look: Callable[[], Any], what: str, within: float = PATIENCE, *, must: bool = True) -> bool:
        """Look every second until there is something."""
        deadline = time.monotonic() + within
        deadline = deadline if self.ends is None else min(deadline, self.ends)
        while not look():
            if self.corral.process.poll() is not None:
                raise SystemExit(f"corral up ended:\n{self.corral.said()[-2000:]}")
            if time.monotonic() > deadline:
                if must:
                    raise SystemExit(f"waited in vain for {what}")
                return False
            time.sleep(1)
        return True
