"""A child process with a thread that watches what it takes, ends it at its limits and reaps it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from workers.sandbox import watch
from workers.sandbox.protocol import Limits, NoSandbox, Why

_LOOK_MS: Final = 25
"""Between two looks at what a program takes: one that fills memory as fast as it can is stopped some 50 MB later."""
_OWN_THREADS: Final = 4
"""Of the sandbox itself, in the same tree."""
MB: Final = 1 << 20
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENSSL_CONF": "/dev/null",
}
"""All that code gets of an environment, beside HOME and TMPDIR. The hash seed is fixed: the same code gives the same finding.
Without a bound on arenas each thread reserves more than a hundred megabytes of its address space."""

Streams = tuple[int, int, int]
"""The standard input, output and error of a program, as descriptors."""


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a bound program.

    Attributes:
        argv: What is executed.
        environment: All of its environment.
        descriptors: What it inherits beside its standard streams; closed here once it runs.
        status: Where the sandbox says how its start went; read to its end once the program is gone.
        failure: From what stood there, the exit status and the standard error: why it never started, or None.
        used: From the processes of the program: bytes and number of the files that it holds.
        code: From the exit status of the first program that of the bound one, negative for a signal.
        user: The user that it becomes before anything else, None where it stays this one.
        clean: Called once it is gone.
    """

    argv: Sequence[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...]
    status: int
    failure: Callable[[bytes, int, bytes], str | None]
    used: Callable[[list[int]], tuple[int, int]]
    code: Callable[[int], int]
    user: int | None
    clean: Callable[[], None]


class WatchedProcess:
    """A child process. Its thread reaps it and nobody else does, so its number stays its own."""

    def __init__(
        self, command: Command, limits: Limits, streams: Streams, gone: Callable[[], None] = lambda: None
    ) -> None:
        """Start it.

        Args:
            command: What is started.
            limits: At which it is ended.
            streams: What it reads and writes; this side of them stays the caller's to close.
            gone: Called by the thread once the program is gone.

        Raises:
            NoSandbox: the first program of the command cannot be executed, or not be watched.
        """
        self._command, self._limits, self._gone = command, limits, gone
        self._why: Why | None = None
        self._lock = threading.Lock()
        self._reported = b""
        self._deadline = time.monotonic() + limits.wall_s
        try:
            self._process = _started(command, streams)
        except (OSError, ValueError) as error:  # ValueError: an argument that no program can be given
            os.close(command.status)
            command.clean()
            raise NoSandbox(f"The program cannot be started: {error}") from error
        finally:
            for end in command.descriptors:
                os.close(end)
        try:
            self._ended = os.pidfd_open(self._process.pid)
        except OSError as error:
            self._finish()
            raise NoSandbox(f"The program cannot be watched: {error}") from error
        try:
            self._thread = threading.Thread(target=self._watch, name="sandbox watch", daemon=True)
            self._thread.start()
        except RuntimeError as error:  # no thread is left
            os.close(self._ended)
            self._finish()
            raise NoSandbox(f"The program cannot be watched: {error}") from error

    @property
    def pid(self) -> int:
        """The number of the child."""
        return int(self._process.pid)

    def kill(self, why: Why) -> None:
        """End it with all that it started; the first reason stays. Gone already: nothing."""
        with self._lock:
            if self._process.returncode is not None:
                return
            self._why = self._why or why
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it is gone, at the latest at its limits."""
        self._thread.join()

    def ending(self, errors: bytes) -> tuple[int | None, Why]:
        """Status and reason of a program that is gone and wrote that to its standard error.

        Raises:
            NoSandbox: it never started.
        """
        if self._why not in (None, "ended"):
            return None, self._why
        code = self._process.returncode
        if failed := self._command.failure(self._reported, code, errors):
            raise NoSandbox(failed)
        if code == -signal.SIGXCPU:
            return None, "time"
        return self._command.code(code), "ended"

    def _watch(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._ended, select.POLLIN)
            while not poll.poll(_LOOK_MS):
                if why := self._over():
                    self.kill(why)
                    poll.poll()
        finally:
            os.close(self._ended)
            self._finish()
            self._gone()

    def _finish(self) -> None:
        """End what is left, reap it, and take away what was made for it."""
        with self._lock:
            # Its number is its own until it is reaped, and so is the group of what it left behind.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reported = _rest(self._command.status)
        self._command.clean()

    def _over(self) -> Why | None:
        """Which limit it is over, if any."""
        if time.monotonic() > self._deadline:
            return "time"
        processes = watch.tree(self._process.pid)
        memory, threads = watch.weight(processes)
        if memory > self._limits.memory_mb * MB:
            return "memory"
        if threads > self._limits.processes + _OWN_THREADS:
            return "processes"
        size, count = self._command.used(processes)
        if size > 4 * self._limits.file_mb * MB or count > watch.MOST_FILES:
            return "files"
        return None


def _started(command: Command, streams: Streams) -> subprocess.Popen[bytes]:
    own: dict[str, Any] = {}
    if command.user is not None:
        own = {"user": command.user, "group": command.user, "extra_groups": []}
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command.argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=command.environment,
        cwd="/",
        pass_fds=command.descriptors,
        start_new_session=True,
        **own,
    )


def _rest(end: int) -> bytes:
    """What stands in a pipe that nobody writes to any more."""
    os.set_blocking(end, False)
    try:
        return os.read(end, 1 << 16)
    except BlockingIOError:
        return b""
    finally:
        os.close(end)
