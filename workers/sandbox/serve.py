"""The service that runs code for workers: no network, no secrets, nothing of the installation, one socket.

Whoever asks hands over the standard streams of the program, so what it reads and writes passes nobody else.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import socketserver
import stat
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from workers.sandbox.choose import find_local
from workers.sandbox.protocol import NoSandbox
from workers.sandbox.service import connected
from workers.sandbox.watched import WatchedProcess
from workers.sandbox.wire import Connection, Run, WrongRequest

MOST_PROGRAMS: Final = 16
"""Programs at a time; a test of code takes two. A further one is told to come back."""
_REQUEST_S: Final = 20.0
_SECRET: Final = re.compile(r"DATABASE_URL|BROKER_URL|KEY|TOKEN|PASSWORD|SECRET|AUTH|ENDPOINTS")


class CannotServe(Exception):
    """The service must not start like this; the message says what to change."""


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The names of variables that code which nobody has read must not be near."""
    return sorted(name for name, value in environment.items() if value and _SECRET.search(name))


def networks() -> list[str]:
    """The interfaces of this machine or container that lead anywhere."""
    return sorted(name for _, name in socket.if_nameindex() if name != "lo")


class Service(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Runs programs for processes of its own user, and of its own group where it is told so. Nobody else may connect."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, *, group: bool = False, most: int = MOST_PROGRAMS) -> None:
        """Listen there.

        Raises:
            CannotServe: somebody else could put a socket in this place, or another service listens there.
        """
        self.group = group
        self.most = most
        self.places = threading.BoundedSemaphore(most)
        self.proving = threading.Lock()
        self._running: set[WatchedProcess] = set()
        self._stopping = False
        _make_room(path)
        before = os.umask(0o117 if group else 0o177)
        try:
            super().__init__(str(path), _Handler)
        except OSError as error:
            raise CannotServe(f"The service cannot listen at {path}: {error}") from error
        finally:
            os.umask(before)

    def verify_request(self, request: Any, _address: Any) -> bool:
        """Whether the process at the other end is one of those for whom this runs code."""
        _process, user, group = struct.unpack("3i", request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return user == os.geteuid() or (self.group and group == os.getegid())

    def handle_error(self, _request: Any, _address: Any) -> None:
        """Say it in one line; the others go on."""
        say(f"a request failed: {sys.exception()!r}")

    def keep(self, process: WatchedProcess) -> None:
        """Remember a program until it is gone, so that it ends with the service."""
        self._running.add(process)
        if self._stopping:
            process.kill("ended")

    def answers(self, process: WatchedProcess) -> bool:
        """Forget a program that is gone. False: the service ended it by stopping, which is no end of its own."""
        self._running.discard(process)
        return not self._stopping

    def stop(self) -> None:
        """End all programs without an answer, and serve no further request. Not from the thread that serves."""
        self._stopping = True
        for process in list(self._running):
            process.kill("ended")
        self.shutdown()


class _Handler(socketserver.BaseRequestHandler):
    server: Service

    def handle(self) -> None:
        self.request.settimeout(_REQUEST_S)
        connection = Connection(self.request)
        try:
            asked = connection.line()
            if asked is not None:
                self._do(connection, asked)
        except WrongRequest as error:
            with suppress(OSError):
                connection.send({"error": f"The service that runs code was sent {error}"})
        except OSError:
            pass  # whoever asked is gone, or too slow
        finally:
            connection.close_streams()

    def _do(self, connection: Connection, asked: dict[str, Any]) -> None:
        if isinstance(asked.get("run"), dict):
            self._run(connection, Run.received(asked["run"], connection))
        elif isinstance(asked.get("prove"), list):
            self._prove(connection, [str(name) for name in asked["prove"]])
        elif "alive" in asked:
            connection.send({"alive": True})
        else:
            raise WrongRequest("no request")

    def _run(self, connection: Connection, run: Run) -> None:
        if not self.server.places.acquire(blocking=False):
            connection.send({"busy": f"The service that runs code is busy: it runs {self.server.most} programs."})
            return
        try:
            process = self._started(connection, run)
            if process is not None:
                self._serve(connection, process)
        finally:
            self.server.places.release()

    def _started(self, connection: Connection, run: Run) -> WatchedProcess | None:
        if len(connection.streams) != 3:
            raise WrongRequest("no three streams")
        stdin, stdout, stderr = connection.streams
        gone = partial(self.request.shutdown, socket.SHUT_RD)  # whoever listens for its client stops
        try:
            return find_local().launch(run.argv, run.files, run.limits, (stdin, stdout, stderr), _quiet(gone))
        except (NoSandbox, ValueError) as error:
            connection.send({"error": str(error)})
            return None
        finally:
            connection.close_streams()

    def _serve(self, connection: Connection, process: WatchedProcess) -> None:
        """Until the program is gone or its client is. The thread stays: a program ends with the thread that started it."""
        self.server.keep(process)
        try:
            self.request.settimeout(None)
            connection.send({"started": True})
            while (told := connection.line()) is not None:
                process.kill(told.get("end", "ended"))
        except (OSError, WrongRequest):
            pass
        finally:
            process.kill("ended")
            process.wait()
        if self.server.answers(process):
            try:
                code, why = process.ending(b"")
                connection.send({"code": code, "why": why})
            except NoSandbox as error:
                connection.send({"error": str(error)})

    def _prove(self, connection: Connection, names: list[str]) -> None:
        from workers.sandbox.proof import prove

        with self.server.proving:  # each sets a variable of this process
            try:
                sandbox = find_local()
                about = {"network": networks(), "secrets": secrets_in(os.environ)}
                connection.send({"sandbox": sandbox.name, "service": about})
                for attempt in prove(sandbox, names):
                    connection.send(asdict(attempt))
            except (NoSandbox, KeyError) as error:
                connection.send({"error": str(error)})


def serve(path: Path, *, group: bool) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CannotServe: not like this.
    """
    if known := secrets_in(os.environ):
        raise CannotServe(
            f"The service must not know {', '.join(known)}: start it without, for code that nobody has read runs beside it."
        )
    with Service(path, group=group) as service:

        def end(_number: int, _frame: FrameType | None) -> None:
            threading.Thread(target=service.stop).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        try:
            say(f"code runs in {find_local().name}, asked at {path}")
        except NoSandbox as error:
            say(str(error))  # who asks is told the same; it may be mended meanwhile
        try:
            service.serve_forever(poll_interval=0.2)
        finally:
            path.unlink(missing_ok=True)


def say(what: str) -> None:
    """One line for the log."""
    sys.stderr.write(f"sandbox: {what}\n")
    sys.stderr.flush()


def _quiet(call: Any) -> Any:
    def called() -> None:
        with suppress(OSError):
            call()

    return called


def _make_room(path: Path) -> None:
    """The folder of the socket, ours alone to write to, and no socket that nobody listens at any more."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = path.parent.stat()
    if about.st_uid not in (0, os.geteuid()) or stat.S_IMODE(about.st_mode) & 0o022:
        raise CannotServe(
            f"Others may write to {path.parent}, and so put a socket of theirs there: `chmod go-w`, and own it."
        )
    if not path.exists():
        return
    try:
        connected(path).socket.close()
    except NoSandbox:
        path.unlink()
        return
    raise CannotServe(f"Another service listens at {path}.")
