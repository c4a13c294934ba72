"""A container that stays unwell is ended, so that it is started again; one that waits for another service is not."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import redis
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.services import probe
from app.services.embedded import Valkey, free_port, valkey_bin
from tests.launcher.test_broker_log import a_broken_base, a_broken_manifest, nul_bytes, run
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place
from tests.test_packaging import services

Web = Callable[[int, int], None]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set variables of the environment for the probe."""

    def use(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    yield use
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server that answers ``/healthz`` and ``/readyz`` with these; 0: not at all."""
    answers: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answers[self.path]:
                self.send_response(answers[self.path])
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    def answering(health: int, ready: int) -> None:
        answers.update({"/healthz": health, "/readyz": ready})

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        monkeypatch.setattr(probe, "WEB", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield answering
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def broker() -> Iterator[Valkey]:
    with temporary_place() as place:
        broker = Valkey(place / "broker")
        broker.prepare()
        process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL)
        eventually(broker.ready, PATIENCE, "the broker")
        yield broker
        process.terminate()
        process.wait(20)


def nowhere(kind: str) -> str:
    return f"{kind}://corral@127.0.0.1:{free_port()}/0"


# ── Whose fault it is ────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_web_server_that_is_ready_is_well(web: Web) -> None:
    web(200, 200)
    assert probe.main(["web"]) == probe.WELL


def test_one_that_is_stuck_is_not_whatever_its_database_does(web: Web, settings: Callable[..., None]) -> None:
    settings(DATABASE_URL=nowhere("postgresql"))
    web(0, 0)
    assert probe.main(["web"]) == probe.UNWELL


def test_one_without_a_database_waits(web: Web, settings: Callable[..., None]) -> None:
    settings(DATABASE_URL=nowhere("postgresql"))
    web(200, 503)
    assert probe.main(["web"]) == probe.WAITS


def test_one_that_is_not_ready_on_a_database_that_is_has_run_dry(web: Web, session: Session) -> None:
    web(200, 503)
    assert probe.main(["web"]) == probe.UNWELL


def test_one_that_wants_other_tables_waits_for_them(
    web: Web, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    web(200, 503)
    monkeypatch.setattr("app.services.migrating.heads", lambda: {"newer"})
    assert probe.main(["web"]) == probe.WAITS


@pytest.mark.parametrize(("answer", "status"), [([{"here": "pong"}], probe.WELL), ([], probe.UNWELL)])
def test_a_worker_that_does_not_answer_is_unwell_where_its_broker_does(
    answer: list[object],
    status: int,
    broker: Valkey,
    settings: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings(BROKER_URL=broker.url)
    control = type("Control", (), {"ping": lambda *_, **__: answer})
    monkeypatch.setattr("app.kernel.jobs.producer", lambda: type("Producer", (), {"control": control()}))
    assert probe.main(["worker", "generation"]) == status


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_without_a_broker_worker_and_clock_wait(name: str, tmp_path: Path, settings: Callable[..., None]) -> None:
    settings(BROKER_URL=nowhere("redis"), CORRAL_DATA_DIR=str(tmp_path))
    assert probe.main(["worker", "generation"] if name == "worker" else ["beat"]) == probe.WAITS


@pytest.mark.parametrize(
    ("age", "folder", "status"),
    [(1, ".", probe.WELL), (1000, ".", probe.UNWELL), (None, ".", probe.UNWELL), (None, "gone", probe.WAITS)],
)
def test_a_clock_that_stands_is_unwell_where_it_could_tick(
    age: int | None, folder: str, status: int, broker: Valkey, tmp_path: Path, settings: Callable[..., None]
) -> None:
    settings(BROKER_URL=broker.url, CORRAL_DATA_DIR=str(tmp_path / folder))
    if age is not None:
        (tmp_path / "beat").touch()
        os.utime(tmp_path / "beat", (time.time() - age,) * 2)
    assert probe.main(["beat"]) == status


# ── What Compose does about it ───────────────────────────────────────────────────────────────────────────────────────
def unwell(check: str, well: Path) -> subprocess.CompletedProcess[str]:
    """Run a health check of docker-compose.yml around ``check``, with what it would kill only said."""
    words = services()["web"]["healthcheck"]["test"]
    script = words[words.index("-c") + 1].replace("$$", "$").replace("/tmp/well", str(well)).replace("sleep 5", "true")
    script, kills = re.subn(r"\bkill -", "echo kill -", script)
    assert kills == 2
    script = script.replace("/proc/1/fd/2", os.devnull)
    return subprocess.run(
        ["sh", "-c", script, "1", "1" if "sleep" in check else "20", "sh", "-c", check],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [probe.WELL, probe.WAITS])
def test_what_is_well_or_waits_is_noted_and_left_alone(status: int, tmp_path: Path) -> None:
    done = unwell(f"exit {status}", tmp_path / "well")
    assert (done.returncode, done.stdout) == (status, "")
    assert time.time() - (tmp_path / "well").stat().st_mtime < 60


@pytest.mark.parametrize("check", ["exit 1", "exit 2", "sleep 60"])
def test_what_was_well_and_stays_unwell_is_ended_once(check: str, tmp_path: Path) -> None:
    well = tmp_path / "well"
    well.touch()
    assert "kill" not in unwell(check, well).stdout, "it has not been unwell for long"
    os.utime(well, (time.time() - 70,) * 2)
    done = unwell(check, well)
    assert done.returncode != 0
    assert done.stdout.splitlines() == [
        "unhealthy for 1 min: stopped, so that Docker restarts it",
        "kill -TERM 1",
        "kill -KILL -1",
    ]
    assert "kill" not in unwell(check, well).stdout, "what comes up again is given its time"


def test_what_was_never_well_is_left_alone(tmp_path: Path) -> None:
    assert "kill" not in unwell("exit 1", tmp_path / "well").stdout


def test_every_service_but_the_database_is_ended_when_it_stays_unwell() -> None:
    script = services()["web"]["healthcheck"]["test"][3]
    checked = {name: service["healthcheck"]["test"] for name, service in services().items() if "healthcheck" in service}
    assert {name for name, test in checked.items() if script not in test} == {
        "db",  # it starts its parts again itself, and one that recovers would have to begin anew
    }
    assert all(services()[name].get("init") for name in checked if name != "db"), "only an init passes a signal on"


def answers(address: Path, password: str) -> bool:
    """Whether a broker that listens at a socket has read its log."""
    with redis.Redis(unix_socket_path=str(address), password=password) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


# ── Its broker ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.slow
@pytest.mark.parametrize("damage", [None, nul_bytes, a_broken_base, a_broken_manifest])
def test_a_broker_with_a_broken_log_sets_it_aside_and_starts(
    damage: Callable[[Path], None] | None, place: Path
) -> None:
    """The command of docker-compose.yml with the embedded broker's program, over a log that the program wrote."""
    broker = Valkey(place / "broker")
    broker.prepare()
    run(broker, lambda client: client.lpush("generation", *range(50)))
    if damage is not None:
        damage(broker.folder / "appendonlydir")
    script = services()["broker"]["command"][-1].replace("$$", "$")
    script = script.replace("/tmp/", f"{place}/").replace("cd /data", f"cd '{broker.folder}'")
    # At a socket of its own: until it serves, another test may be given the port that was free before.
    script = script.replace("exec $serve", f"exec $serve --port 0 --unixsocket {place}/serve.sock")
    path = f"{valkey_bin().parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "REDISCLI_AUTH": broker.password}
    process = subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        eventually(lambda: answers(place / "serve.sock", broker.password), PATIENCE, "the broker")
        aside = [path.name for path in broker.folder.glob("appendonlydir.*")]
        assert bool(aside) == (damage is not None), aside
        assert all(name.startswith("appendonlydir.broken-") for name in aside)
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
    assert ("set aside; it starts empty" in said) == (damage is not None)


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_place() as place:
        yield place
