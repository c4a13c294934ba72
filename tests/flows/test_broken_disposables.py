"""A power cut in the middle of a batch breaks everything that can be made again; the next start makes it again and goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy.orm import Session

from tests.fake_engine import FakeEngine
from tests.flows.installation import Installation, running
from tests.generating import open_batch, tiny_engine
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place

pytestmark = [pytest.mark.faults, pytest.mark.slow]
PROMPTS = 30


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_place() as place:
        yield place


@pytest.fixture
def engine(place: Path) -> Iterator[FakeEngine]:
    engine = tiny_engine(place)
    with engine.running():
        yield engine


def cut_the_power(installation: Installation) -> None:
    processes = [psutil.Process(installation.process.pid), *installation.children()]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between the list and its turn
            process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE)


def a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "what").mkdir(parents=True)


def break_what_can_be_made_again(data: Path) -> None:
    (log,) = data.glob("broker/appendonlydir/*.incr.aof")
    with log.open("ab") as end:
        end.write(bytes(4096))
    for note in ("postgres/postmaster.pid", "postgres/.s.PGSQL.5432.lock", "running.json"):
        (data / note).write_bytes(bytes(200))
    for file in ("corral.lock", "beat", "broker/valkey.conf"):
        a_folder(data / file)
    shutil.rmtree(data / "logs")
    (data / "logs").write_bytes(bytes(200))
    shutil.rmtree(data / "postgres" / "pg_replslot")


def test_a_power_cut_that_breaks_all_that_can_be_made_again_costs_nothing(place: Path, engine: FakeEngine) -> None:
    data = place / "var"
    settings = {
        "CORRAL_ENGINE_URL": engine.url,
        "CORRAL_BASE_MODEL": str(engine.model),
        "CORRAL_SAMPLE_BATCH": "false",
        "CORRAL_GENERATION_LEASE": "5",
        "CORRAL_SWEEP_INTERVAL": "2",
    }
    engine.delay = 1.0
    with running(data, **settings) as first:
        first.admin_link()
        with Session(first.database) as session:
            open_batch(session, [f"Question number {number}?" for number in range(PROMPTS)])
            session.commit()
        at_work = "SELECT count(*) FROM prompts WHERE state = 'generating'"
        eventually(lambda: first.scalar(at_work), PATIENCE, "a worker in the middle of a batch")
        cut_the_power(first)
    break_what_can_be_made_again(data)
    engine.delay = 0.0
    with running(data, **settings) as second:
        eventually(lambda: second.said().count("Corral is at") == 2, PATIENCE, second.said())
        ready = "SELECT count(*) FROM prompts WHERE state = 'ready'"
        eventually(
            lambda: second.scalar(ready) == PROMPTS, PATIENCE, "the ledger rings for what the broken log knew of"
        )
        for broken in (
            "appendonlydir",
            "postmaster.pid",
            ".s.PGSQL.5432.lock",
            "corral.lock",
            "beat",
            "valkey.conf",
            "logs",
        ):
            assert f"the old one is now {broken}.broken-" in second.said()
        assert second.corral("audit").stdout == "Every promise holds.\n"
        assert second.stop() == 0
