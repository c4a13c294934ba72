"""The embedded servers: found again, recovered after kill -9, private, wherever the data lies."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from app.kernel.errors import CannotStart
from app.kernel.settings import ROOT
from app.services import embedded
from app.services.embedded import SOCKET_PATH_LIMIT, Postgres, Valkey, start_postgres, stop_postgres
from tests.patience import PATIENCE, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(place: Path) -> Iterator[Path]:
    folder = place / "postgres"
    yield folder
    stop_postgres(folder)


def kill(folder: Path) -> None:
    pid = Postgres(folder).pid()
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(PATIENCE)


def notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT note FROM notes")]


def note(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (note text)")
        connection.execute("INSERT INTO notes VALUES (%s)", (text,))


def test_a_running_server_is_found_and_a_killed_one_recovers(folder: Path) -> None:
    url = start_postgres(folder)
    note(url, "kept")
    first = Postgres(folder).pid()
    assert start_postgres(folder) == url
    assert Postgres(folder).pid() == first
    kill(folder)
    assert Postgres(folder).pid() is None
    assert notes(start_postgres(folder)) == ["kept"]


def test_the_note_of_a_killed_server_does_not_say_that_the_next_one_is_ready(folder: Path) -> None:
    start_postgres(folder)
    assert Postgres(folder).serving() == Postgres(folder).pid()
    kill(folder)
    assert (folder / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
    assert Postgres(folder).serving() is None


def test_a_server_that_somebody_else_is_still_starting_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Postgres(folder)
    server.start()
    waits = iter([None, None])
    serving = Postgres.serving
    monkeypatch.setattr(Postgres, "serving", lambda self: next(waits, serving(self)))
    server.start()
    assert list(waits) == []


STARTER = """
import sys, time
from pathlib import Path
from app.services.embedded import Postgres
server = Postgres(Path(sys.argv[1]))
server.start()
print(server.pid(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_server_ends_with_the_command_that_started_it(folder: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-c", STARTER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.send_signal(end)
    eventually(lambda: not psutil.pid_exists(pid), PATIENCE, "the server's end")


def test_a_process_number_that_went_to_a_stranger_does_not_stop_the_next_start(folder: Path) -> None:
    url = start_postgres(folder)
    note(url, "kept")
    kill(folder)
    lines = (folder / "postmaster.pid").read_text().splitlines()
    (folder / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert Postgres(folder).pid() is None
    assert notes(start_postgres(folder)) == ["kept"]


def test_a_deep_folder_has_its_socket_elsewhere_and_for_us_alone(place: Path) -> None:
    deep = place / ("x" * 60) / ("y" * 60) / "postgres"
    server = Postgres(deep)
    assert len(os.fsencode(deep)) > SOCKET_PATH_LIMIT
    assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT
    try:
        note(start_postgres(deep), "deep")
        assert notes(server.url()) == ["deep"]
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    finally:
        server.stop()
        server.socket_dir.rmdir()


def test_a_socket_folder_that_somebody_put_there_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = place / ("x" * 60) / ("y" * 60) / "postgres"
    trap = Postgres(deep).socket_dir
    trap.symlink_to(place)
    try:
        with pytest.raises(CannotStart, match="belongs to another user"):
            Postgres(deep).prepare()
    finally:
        trap.unlink()


def test_data_of_another_version_is_refused_with_the_remedy(folder: Path) -> None:
    folder.mkdir()
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(CannotStart, match="was created by PostgreSQL 16; this installation comes with 18"):
        Postgres(folder).prepare()
    (folder / "PG_VERSION").unlink()


def test_half_a_first_start_is_begun_again(folder: Path) -> None:
    (folder / "base" / "1").mkdir(parents=True)
    (folder / "postgresql.conf").write_text("half")
    assert start_postgres(folder).endswith(f"?host={folder}")


def test_a_missing_package_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_package", lambda name: folder / name)
    for prepare, remedy in ((Postgres(folder).prepare, "DATABASE_URL"), (Valkey(folder).prepare, "BROKER_URL")):
        with pytest.raises(CannotStart, match=f"is not installed: run `pip install .*{remedy}"):
            prepare()


@pytest.fixture
def broker(place: Path) -> Valkey:
    return Valkey(place / 'with "quotes" and spaces')


def served(broker: Valkey) -> subprocess.Popen[bytes]:
    broker.prepare()
    process = subprocess.Popen(broker.command(), stdout=subprocess.DEVNULL)
    eventually(broker.ready, PATIENCE, "the broker")
    return process


def test_the_broker_keeps_what_it_was_given_through_kill_9(broker: Valkey) -> None:
    process = served(broker)
    client = redis.Redis.from_url(broker.url)
    client.lpush("generation", "look")
    eventually(lambda: b"look" in b"".join(p.read_bytes() for p in broker.folder.rglob("*.aof")), PATIENCE, "the log")
    process.kill()
    process.wait()
    assert not broker.ready()
    process = served(broker)
    assert client.lrange("generation", 0, -1) == [b"look"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_the_broker_wants_its_password_and_hides_it_from_other_users(broker: Valkey) -> None:
    process = served(broker)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=broker.port).ping()
    assert broker.password not in " ".join(broker.command())
    assert broker.password not in repr(broker)
    assert stat.S_IMODE((broker.folder / "valkey.conf").stat().st_mode) == 0o600
    process.terminate()
    process.wait(20)
