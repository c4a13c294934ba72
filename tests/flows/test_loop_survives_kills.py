"""The whole loop over the API while its parts are killed with SIGKILL at random moments; nothing is lost or doubled.

Real PostgreSQL, Valkey, Celery, vLLM and training. The moments are drawn from a seed that is printed (set
``CORRAL_KILL_SEED`` to draw them again).
"""

from __future__ import annotations

import io
import json
import os
import random
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from app.kernel.settings import ROOT
from tests.flows.installation import Installation, running
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place

pytestmark = [pytest.mark.engine, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1800)]

KILLER = ThreadPoolExecutor(1)
PROMPTS = 16
SETTINGS = {
    "CORRAL_SAMPLE_BATCH": "false",
    "CORRAL_HELD_OUT_PERCENT": "10",
    "CORRAL_GENERATION_LEASE": "20",
    "CORRAL_SWEEP_INTERVAL": "3",
    "CORRAL_GENERATION_TRIES": "6",
    "CORRAL_TRAINING_SAMPLES": "0",
    "CORRAL_CHECK_TOKENS": "16",
    "CORRAL_CHALLENGER_PERCENT": "100",
}


@pytest.fixture
def installation() -> Iterator[Installation]:
    """Corral with short leases, so that what a killed process held is taken back within seconds."""
    with temporary_place() as place, running(place / "var", **SETTINGS) as installation:
        installation.admin_link()
        yield installation


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


def annotate(client: Client) -> bool:
    """Judge one item and send the same submit twenty times at once; false when nothing waits."""
    taken = client.call("POST", "/annotate/next", json={})
    if taken.status_code == 204:
        return False
    item = taken.json()
    best = min(item["responses"], key=lambda response: len(response["text"]))
    others = [response["position"] for response in item["responses"] if response is not best]
    body = {
        "fencing_token": item["fencing_token"],
        "outcome": "ranked",
        "ranking": [[best["position"]], others],
        "strengths": [4],
        "edited_text": f"In short: {best['text']}",
    }
    key, path = secrets.token_hex(12), f"/assignments/{item['id']}/submit"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.call("POST", path, key, json=body), range(20)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 1, ids
    client.acknowledged += ids
    return True


def kill_when(installation: Installation, due: Callable[[], bool], *words: str) -> Future[list[int]]:
    """Kill what has ``words`` in its command line as soon as ``due``, beside whatever else the test does.

    The result is the process ids of who was killed; asking for it fails where nobody was.
    """

    def work() -> list[int]:
        eventually(due, 3 * PATIENCE, f"the moment to kill {words}")
        victims = installation.kill9(*words)
        eventually(lambda: not any(map(psutil.pid_exists, victims)), PATIENCE, f"the end of {words}")
        return victims

    return KILLER.submit(work)


def test_kills_at_random_moments_lose_and_double_nothing(installation: Installation) -> None:
    seed = int(os.environ.get("CORRAL_KILL_SEED", secrets.randbelow(10**6)))
    print(f"CORRAL_KILL_SEED={seed}")  # noqa: T201 - to draw the same moments again
    dice = random.Random(seed)
    bob = person(installation, "bob@example.org", "admin", "admin")
    alice = person(installation, "alice@example.org", "annotator", "annotate")

    def ready_at_least(share: float) -> Callable[[], bool]:
        query, wanted = "SELECT count(*) FROM prompts WHERE state = 'ready'", share * PROMPTS
        return lambda: int(str(installation.scalar(query))) >= wanted

    # Generation: its worker, the broker and the engine die while the first batch is answered.
    batch = upload(bob, "first", 0, PROMPTS)
    moments = sorted(dice.uniform(0.05, 0.8) for _ in range(3))
    victims = [("celery", "-Q generation"), ("valkey-server",), ("vllm.entrypoints",)]
    dice.shuffle(victims)
    for share, words in zip(moments, victims, strict=True):
        kill_when(installation, ready_at_least(share), *words).result()
    wait_ready(installation, batch, PROMPTS)
    assert installation.scalar("SELECT count(*) FROM candidates") == 2 * PROMPTS
    assert bob.call("POST", f"/batches/{batch}/state", json={"state": "open"}).status_code == 200

    # Annotation: every submit is sent twenty times at once, and the web server is killed on the way.
    halfway = dice.randint(2, PROMPTS // 2)
    web = kill_when(installation, lambda: len(alice.acknowledged) >= halfway, "app.site.serve")
    while annotate(alice):
        pass
    web.result()
    assert len(alice.acknowledged) == PROMPTS
    stored = installation.scalar("SELECT array_agg(id ORDER BY id) FROM annotations")
    assert stored == sorted(alice.acknowledged)

    # Training: the trainer dies in each of the two runs, once under its worker's feet.
    def steps(kind: str) -> Callable[[], bool]:
        wanted, query = dice.randint(1, 3), "SELECT max(step) FROM training_runs WHERE kind = :kind"
        return lambda: int(str(installation.scalar(query, kind=kind) or 0)) >= wanted

    assert bob.call("POST", "/training-runs").status_code == 202
    kill_when(installation, steps("reward"), "training.reward").result()
    killer = kill_when(installation, steps("dpo"), "-Q training")
    done = "SELECT count(*) FROM training_runs WHERE state = 'succeeded'"
    eventually(
        lambda: none_failed(installation) and installation.scalar(done) == 3, 1200, "both are trained and checked"
    )
    killer.result()
    assert installation.scalar("SELECT count(*) FROM training_runs") == 3
    states = "SELECT string_agg(state, ' ' ORDER BY number) FROM rounds"
    eventually(lambda: installation.scalar(states) == "challenging collecting", PATIENCE, "the policy challenges")
    assert installation.scalar("SELECT count(*) FROM checkpoints WHERE kind IN ('reward', 'policy')") == 2

    # The next batch is answered by what came of it.
    served = (
        "SELECT count(*) FROM deployments d JOIN checkpoints c ON c.id = d.checkpoint_id "
        "WHERE c.kind = 'policy' AND d.load_state = 'loaded'"
    )
    eventually(lambda: installation.scalar(served) == 1, PATIENCE, "the new policy is loaded")
    second = upload(bob, "second", PROMPTS, 4)
    wait_ready(installation, second, 4)
    by_policy = (
        "SELECT count(DISTINCT p.id) FROM candidates s JOIN checkpoints c ON c.id = s.checkpoint_id "
        "JOIN prompts p ON p.id = s.prompt_id WHERE c.kind = 'policy' AND p.batch_id = :batch"
    )
    assert installation.scalar(by_policy, batch=second) == 4

    audited = installation.corral("audit")
    assert audited.returncode == 0, audited.stdout
    assert installation.stop() == 0


def none_failed(installation: Installation) -> bool:
    """A run whose trainer was killed is taken up again by itself; one that gave up breaks the promise."""
    query = "SELECT string_agg(kind || ': ' || error, '; ') FROM training_runs WHERE state = 'failed'"
    failed = installation.scalar(query)
    assert failed is None, failed
    return True
