"""``corral up`` as a user starts it: real processes, a data folder of its own, free ports, no engine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psutil
import pytest

from app.kernel.settings import ROOT
from app.services.embedded import free_port
from tests.flows.installation import Installation, running
from tests.patience import PATIENCE, eventually
from tests.places import temporary_place

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]
PASSWORD = "correct horse battery staple\n"


def up(folder: Path) -> AbstractContextManager[Installation]:
    return running(folder, "--no-engine", CORRAL_SAMPLE_BATCH="false")


@pytest.fixture
def folder(place: Path) -> Path:
    return place / "var"


@pytest.fixture
def installation(folder: Path) -> Iterator[Installation]:
    with up(folder) as installation:
        yield installation


@pytest.fixture(scope="module")
def shared() -> Iterator[Installation]:
    """One installation for the tests that leave it running."""
    with temporary_place() as folder, up(folder / "var") as installation:
        everything(installation)
        yield installation


def serves(installation: Installation, start: int = 1) -> bool:
    """Whether it said that it is there; the log of the rig goes on from one start to the next."""
    if installation.process.poll() is not None:
        raise AssertionError(installation.said())
    return installation.said().count("Corral is at") >= start


def everything(installation: Installation) -> list[psutil.Process]:
    """All processes of it once all are there: database, broker, web, three workers, beat, and the watchdog."""
    eventually(lambda: installation.said().count("ready") >= 3, PATIENCE, "three workers")
    return installation.children()


def alive(processes: list[psutil.Process]) -> list[str]:
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


def corral_up(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another ``corral up``, which is expected to end by itself."""
    clean = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    command = [sys.executable, "-m", "app.commands.cli", "up", "--no-engine", *arguments]
    return subprocess.run(
        command, env=clean | environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_the_printed_link_opens_and_a_second_start_keeps_the_data(folder: Path) -> None:
    with up(folder) as first:
        link = first.admin_link()
        page = httpx.get(link, timeout=PATIENCE)
        assert page.status_code == 200
        assert "password" in page.text
        assert link.rsplit("/", 1)[1] not in "".join(log.read_text() for log in (folder / "logs").glob("*.log"))
        add = [
            sys.executable,
            "-m",
            "app.commands.cli",
            "user",
            "add",
            "bob@example.org",
            "--name",
            "Bob",
            "--role",
            "admin",
        ]
        subprocess.run(add, env=first.environment, cwd=ROOT, input=PASSWORD, text=True, check=True, timeout=PATIENCE)
        assert first.stop() == 0
    with up(folder) as second:
        eventually(lambda: serves(second, 2), PATIENCE, "the second start")
        assert "First admin" not in second.said().split("stopped; everything is kept")[-1]
        assert "bob@example.org" in second.corral("user", "list").stdout
        assert httpx.get(second.url, timeout=PATIENCE).status_code == 303


def test_ctrl_c_leaves_no_process_behind(installation: Installation) -> None:
    processes = everything(installation)
    assert len(processes) >= 8
    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(60) == 0
    assert alive(processes) == []
    assert "everything is kept" in installation.said()


def test_a_terminal_that_closes_stops_it_in_order(installation: Installation) -> None:
    eventually(lambda: serves(installation), PATIENCE, "the first page")
    processes = installation.children()
    installation.process.send_signal(signal.SIGHUP)
    assert installation.process.wait(60) == 0
    assert alive(processes) == []


def test_ctrl_c_while_it_starts_leaves_no_process_behind(installation: Installation) -> None:
    processes = eventually(
        lambda: installation.children("postgres") and installation.children(), PATIENCE, "the first child"
    )
    installation.process.send_signal(signal.SIGTERM)
    assert installation.process.wait(60) == 0
    assert alive(processes) == []


def test_kill_9_of_the_supervisor_leaves_no_orphan_and_the_next_start_recovers(folder: Path) -> None:
    with up(folder) as first:
        processes = everything(first)
        first.process.kill()
        eventually(lambda: not alive(processes), PATIENCE, f"the end of {alive(processes)}")
    with up(folder) as second:
        eventually(lambda: serves(second, 2), PATIENCE, "the start after kill -9")
        assert httpx.get(f"{second.url}/readyz", timeout=PATIENCE).status_code == 200


def test_kill_9_of_everything_at_once_is_recovered_from(folder: Path) -> None:
    with up(folder) as first:
        link = first.admin_link()
        processes = first.children()
        for process in [psutil.Process(first.process.pid), *processes]:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ended between the list and its turn
                process.kill()
        psutil.wait_procs(processes, timeout=PATIENCE)
    with up(folder) as second:
        eventually(lambda: second.said().count("First admin") == 2, PATIENCE, "the start after kill -9")
        assert second.said().count(link) == 1
        old = httpx.get(f"{second.url}/invite/{link.rsplit('/', 1)[1]}", timeout=PATIENCE)
        assert old.status_code == 404, "only the newest link works"


def test_a_killed_worker_is_started_again(shared: Installation) -> None:
    before = shared.said().count("generation  ready")
    (first,) = [child.pid for child in shared.children("-Q generation") if child.ppid() == shared.process.pid]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: shared.said().count("generation  ready") > before, PATIENCE, "the worker's second start")
    assert "generation  was killed (SIGKILL); starting again in 0.5 s" in shared.said()
    assert shared.process.poll() is None


def test_a_killed_database_and_broker_come_back_and_pages_go_on(shared: Installation) -> None:
    shared.kill9("bin/postgres", "-D")
    shared.kill9("valkey-server")

    def ready() -> bool:
        return httpx.get(f"{shared.url}/readyz", timeout=PATIENCE).status_code == 200

    eventually(ready, PATIENCE, "a page after the database was killed")
    eventually(lambda: shared.children("valkey-server"), PATIENCE, "the broker's second start")


def test_a_web_server_that_keeps_dying_stops_everything_with_one_sentence(installation: Installation) -> None:
    eventually(lambda: serves(installation), PATIENCE, "the first page")
    processes = installation.children()
    killed: set[int] = set()

    def over() -> bool:
        for child in installation.children("app.site.serve") if installation.process.poll() is None else []:
            child.kill()
            killed.add(child.pid)
        return installation.process.poll() is not None

    eventually(over, PATIENCE, "the end of it all")
    assert installation.process.returncode == 1
    assert "corral: web ended 4 times within a minute, so Corral stopped everything." in installation.said()
    assert "The last time it was killed (SIGKILL); see " in installation.said()
    assert len(killed) == 4
    assert alive(processes) == []


def test_a_second_start_over_the_same_data_is_refused(shared: Installation) -> None:
    second = corral_up("--data-dir", str(shared.data_dir), "--port", str(free_port()))
    assert second.returncode == 1
    assert second.stderr.startswith(f"corral: Corral already runs on {shared.data_dir}, at {shared.url}")
    assert httpx.get(f"{shared.url}/healthz", timeout=PATIENCE).status_code == 200


def test_commands_find_the_running_installation(shared: Installation) -> None:
    assert shared.corral("audit").stdout == "Every promise holds.\n"
    assert shared.corral("invite").stdout.startswith(f"{shared.url}/invite/")
    examined = shared.corral("doctor").stdout
    for subject in ("web server", "database", "broker", "workers"):
        assert any(line.startswith(f"ok    {subject} ") for line in examined.splitlines()), examined


def test_a_taken_port_is_one_sentence(place: Path) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        refused = corral_up("--data-dir", str(place / "var"), "--port", str(port))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"corral: Port {port} on 127.0.0.1 is taken by another program: choose another with --port.\n"
    )


def test_a_data_folder_that_cannot_be_written_is_one_sentence(place: Path) -> None:
    (place / "file").write_text("not a folder")
    refused = corral_up("--data-dir", str(place / "file" / "var"), "--port", str(free_port()))
    assert refused.returncode == 1
    assert "cannot be written (Not a directory)" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    disk = place / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes the rights to mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(("used", "words"), [(0, "Corral needs 1000 MB: make room"), (20, "The disk is full")])
def test_a_full_disk_is_one_sentence(small_disk: Path, used: int, words: str) -> None:
    (small_disk / "var").mkdir()
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while used:
            ballast.write(bytes(64 * 1024))
    refused = corral_up("--data-dir", str(small_disk / "var"), "--port", str(free_port()))
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_sentence(place: Path) -> None:
    refused = corral_up(
        *("--data-dir", str(place / "var"), "--port", str(free_port())),
        DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/corral",
    )
    assert refused.returncode == 1
    assert "The database cannot be reached" in refused.stderr
    assert refused.stderr.count("\n") == 1
