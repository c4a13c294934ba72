"""The service that runs code: who may use it, and what comes of a run when either end goes away."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.kernel.settings import ROOT
from tests.patience import PATIENCE, eventually
from workers.sandbox import Limits, NoSandbox, SandboxAway, find_sandbox
from workers.sandbox.choose import find_local
from workers.sandbox.serve import CannotServe, Service, secrets_in
from workers.sandbox.service import ServiceSandbox
from workers.sandbox.wire import VARIABLE, Connection
from workers.verifiers.code.running import CodeTests
from workers.verifiers.code.static import Static
from workers.verifiers.protocol import Case

PATIENT = Limits(wall_s=60)
SLEEPING = ["python", "-I", "-S", "-c", "print(1, flush=True); import time; time.sleep(300)"]
SERVE = [sys.executable, "-m", "workers.sandbox", "serve", "--socket"]
CLEAN = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services in threads of this process."""
    running: list[tuple[Service, threading.Thread]] = []

    def start(name: str = "socket", **how: Any) -> Service:
        found = Service(tmp_path / "folder" / name, **how)
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        running.append((found, thread))
        return found

    yield start
    for found, thread in running:
        found.stop()
        thread.join()
        found.server_close()


def asked(service: Service) -> ServiceSandbox:
    sandbox = ServiceSandbox(Path(str(service.server_address)))
    try:
        sandbox.run(["bash", "-c", "true"])
    except NoSandbox as error:
        pytest.skip(f"no sandbox starts here: {error}")
    return sandbox


def alone(path: Path) -> subprocess.Popen[bytes]:
    """A service in a process of its own, which answers."""
    process = subprocess.Popen([*SERVE, path], env=CLEAN, cwd=ROOT, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()  # it says what it runs code in
    ServiceSandbox(path).answers()
    return process


def connect(service: Service) -> Connection:
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(service.server_address))
    end.settimeout(30)
    return Connection(end)


def answer_of(service: Service, *sent: bytes) -> dict[str, Any] | None:
    connection = connect(service)
    with connection.socket as end:
        for each in sent:
            end.sendall(each)
        end.shutdown(socket.SHUT_WR)
        return connection.line()


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


# ── Who may use it ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("mode", [0o600, 0o660], ids=oct)
def test_the_socket_is_its_users_and_its_groups_where_that_was_asked(
    service: Callable[..., Service], mode: int
) -> None:
    path = Path(str(service(group=mode == 0o660).server_address))
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def as_another(service: Service, *, group: int) -> str:
    """What another user gets whom the rights of files do not keep out."""
    path = Path(str(service.server_address))
    path.chmod(0o666)
    code = (
        "import socket, sys\nend = socket.socket(socket.AF_UNIX)\nend.connect(sys.argv[1])\n"
        "end.sendall(b'{\"alive\": true}\\n')\nprint(end.recv(100))"
    )
    for each in (path.parent, *path.parent.parents):
        if str(each) != "/":
            each.chmod(each.stat().st_mode | 0o711)
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", code, str(path)],
        user=65534,
        group=group,
        extra_groups=[],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@as_root
def test_another_user_is_refused_even_where_files_would_let_them(service: Callable[..., Service]) -> None:
    refused = as_another(service(), group=65534)
    assert refused == "b''" or "reset" in refused or "Broken pipe" in refused


@as_root
def test_a_user_of_the_group_is_served_where_that_was_asked(service: Callable[..., Service]) -> None:
    found = service(group=True)
    assert "alive" in as_another(found, group=os.getegid())
    assert "alive" not in as_another(found, group=65534)


def test_a_folder_that_others_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(CannotServe, match="Others may write"):
        Service(tmp_path / "socket")


def test_two_services_do_not_share_a_socket(service: Callable[..., Service]) -> None:
    path = Path(str(service().server_address))
    with pytest.raises(CannotServe, match="Another service"):
        Service(path)


def test_a_socket_that_a_killed_service_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.parent.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Service(path) as found:
        assert found.fileno() >= 0


@pytest.mark.parametrize("name", ["DATABASE_URL", "BROKER_URL", "CORRAL_ENGINE_API_KEY", "HF_TOKEN"])
def test_a_service_that_knows_a_secret_does_not_start(tmp_path: Path, name: str) -> None:
    assert secrets_in({name: "x", "PATH": "/bin", "CORRAL_DATA_DIR": "/x", VARIABLE: "/y"}) == [name]
    assert secrets_in({name: ""}) == []
    if name == "DATABASE_URL":
        done = subprocess.run(
            [*SERVE, tmp_path / "s"], env={**CLEAN, name: "x"}, cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert b"must not know DATABASE_URL" in done.stderr


# ── What is sent to it ───────────────────────────────────────────────────────────────────────────────────────────────
LIMITS = json.dumps({"wall_s": 5}).encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"no json\n",
        b"[1]\n",
        b"{}\n",
        b'{"run": {"argv": [], "files": {}, "limits": {}}}\n',
        b'{"run": {"argv": ["bash"], "files": {}, "limits": {}}}\n',
        b'{"run": {"argv": ["bash"], "files": [], "limits": {}}}\n',
        b'{"run": {"argv": ["bash"], "files": {"a": -1}, "limits": {}}}\n',
        b'{"run": {"argv": ["bash"], "files": {"a": 99999999999}, "limits": {}}}\n',
        b'{"run": {"argv": ["bash"], "files": {"a": 5}, "limits": {}}}\nabc',
        b'{"run": {"argv": ["bash"], "files": {}, "limits": {"wall": 1}}}\n',
        b"x" * (9 << 20),
    ],
    ids=lambda sent: sent[:40].decode(),
)
def test_what_is_no_request_is_answered_so_and_the_next_is_served(service: Callable[..., Service], sent: bytes) -> None:
    found = service()
    try:
        answer = answer_of(found, sent)
    except (BrokenPipeError, ConnectionResetError):
        answer = {"error": "it hung up before all was sent"}
    assert answer is not None
    assert "error" in answer
    ServiceSandbox(Path(str(found.server_address))).answers()


def test_who_says_nothing_is_no_request(service: Callable[..., Service]) -> None:
    assert answer_of(service()) is None


def test_it_has_so_many_places_and_says_so(service: Callable[..., Service]) -> None:
    found = service(most=1)
    sandbox = asked(found)
    eventually(lambda: found.places._value == 1, PATIENCE, "the place is free")
    with sandbox.start(SLEEPING, limits=PATIENT) as box:
        box.line(time.monotonic() + 60)
        with pytest.raises(SandboxAway, match="busy"):
            sandbox.run(["bash", "-c", "true"])
    eventually(lambda: found.places._value == 1, PATIENCE, "the place is free again")
    assert sandbox.run(["bash", "-c", "echo x"]).stdout == b"x\n"


# ── Somebody goes away ───────────────────────────────────────────────────────────────────────────────────────────────
def test_a_worker_that_is_killed_ends_its_program(service: Callable[..., Service]) -> None:
    found = service()
    asked(found)
    client = f"""
import sys, time
from pathlib import Path
from workers.sandbox.service import ServiceSandbox
from workers.sandbox import Limits
box = ServiceSandbox(Path({str(found.server_address)!r})).start({SLEEPING!r}, limits=Limits(wall_s=300))
box.line(time.monotonic() + 60)
print(1, flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", client], env=CLEAN, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"1\n"
        (process,) = found._running
        assert not gone(process.pid)
        worker.send_signal(signal.SIGKILL)
    eventually(lambda: gone(process.pid), PATIENCE, "its program is gone")
    eventually(lambda: not found._running, PATIENCE, "the service forgot it")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_ends_takes_its_programs_along_and_nothing_is_said_of_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "folder" / "socket"
    process = alone(path)
    try:
        sandbox = ServiceSandbox(path)
        try:
            box = sandbox.start(["bash", "-c", "echo $$; sleep 300"], limits=Limits(wall_s=300))
        except NoSandbox as error:
            pytest.skip(f"no sandbox starts here: {error}")
        with box:
            box.line(time.monotonic() + 60)
            process.send_signal(number)
            with pytest.raises(SandboxAway):
                box.line(time.monotonic() + 60)
        assert process.wait(60) == (0 if number == signal.SIGTERM else -number)
        assert path.exists() is (number == signal.SIGKILL)
        with pytest.raises(SandboxAway, match="does not answer"):
            sandbox.run(["bash", "-c", "true"])
    finally:
        process.kill()
        process.communicate()


def test_a_service_that_hangs_is_away_and_not_the_programs_fault(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    process = alone(path)
    try:
        try:
            box = ServiceSandbox(path).start(SLEEPING, limits=Limits(wall_s=1))
        except NoSandbox as error:
            pytest.skip(f"no sandbox starts here: {error}")
        with box:
            box.line(time.monotonic() + 60)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(SandboxAway):
                box.line(time.monotonic() + 60)
    finally:
        process.kill()
        process.communicate()


# ── What workers make of it ──────────────────────────────────────────────────────────────────────────────────────────
def test_where_a_service_is_named_nothing_else_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nobody"))
    assert isinstance(find_sandbox(), ServiceSandbox)
    test = {"kind": "calls", "language": "python", "names": ["f"], "code": "assert f() == 1"}
    case = Case([], "```python\ndef f():\n    return 1\n```", tests=[test])
    finding = CodeTests().check(case)
    assert (finding.passed, finding.again) == (None, True)
    assert "does not answer" in finding.message
    shell = Static().check(Case([], "```bash\necho 1\n```"))
    assert (shell.passed, shell.again) == (None, True)


def test_no_code_runs_on_a_machine_that_has_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("workers.sandbox.choose.sys.platform", "darwin")
    find_local.cache_clear()
    try:
        with pytest.raises(NoSandbox, match="only run on Linux"):
            find_sandbox()
    finally:
        find_local.cache_clear()


def test_checks_by_way_of_the_service_say_what_they_say_without(
    service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = service()
    asked(found)
    monkeypatch.setenv(VARIABLE, str(found.server_address))
    test = {"kind": "calls", "language": "python", "names": ["f"], "code": "assert f() == 1"}
    for code, passed in (("return 1", True), ("return 2", False), ("import os; os._exit(0)", False)):
        finding = CodeTests().check(Case([], f"```python\ndef f():\n    {code}\n```", tests=[test]))
        assert finding.passed is passed, finding.message


@pytest.mark.slow
def test_a_service_proves_its_own_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    process = alone(path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workers.sandbox", "prove", "secrets"],
            env={**CLEAN, VARIABLE: str(path)},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
    finally:
        process.kill()
        process.communicate()
    about, *attempts = map(json.loads, done.stdout.splitlines())
    if done.returncode == 3:
        pytest.skip(about["error"])
    assert about["service"]["secrets"] == []
    assert [(each["attack"], each["open"]) for each in attempts] == [("secrets", False)]
    assert done.returncode == 0
