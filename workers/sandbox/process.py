"""A program that runs as a child of this process, with a thread that watches what it takes."""

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
from pathlib import PurePosixPath
from typing import Any, Final

from workers.sandbox import watch
from workers.sandbox.box import PipedBox
from workers.sandbox.protocol import NO_FILES, USUAL, Limits, NoSandbox, Result, Why

_LOOK_MS: Final = 25
"""Between two looks at what a program takes: one that fills memory as fast as it can is stopped some 50 MB later."""

_OWN_THREADS: Final = 4
"""Of the sandbox itself, in the same tree."""
MB: Final = 1 << 20
ENVIRONMENT: Final = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENSSL_CONF": "/dev/null",
}
"""All that code gets of an environment, beside HOME and TMPDIR. The hash seed is fixed: the same code gives the same finding.
Without a bound on arenas each thread reserves more than a hundred megabytes of its address space."""


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


class ProcessBox(PipedBox):
    """A child process. The thread ends it at its limits and reaps it; nobody else does, so its number stays its own."""

    def __init__(self, command: Command, limits: Limits) -> None:
        """Start it.

        Raises:
            NoSandbox: the first program of the command cannot be executed.
        """
        self._command = command
        self._why: Why | None = None
        self._lock = threading.Lock()
        self._reported = b""
        self._deadline = time.monotonic() + limits.wall_s
        try:
            self._process = _started(command)
        except (OSError, ValueError) as error:  # ValueError: an argument that no program can be given
            os.close(command.status)
            command.clean()
            raise NoSandbox(f"The program cannot be started: {error}") from error
        finally:
            for end in command.descriptors:
                os.close(end)
        streams = [self._process.stdin, self._process.stdout, self._process.stderr]
        try:
            self._ended = os.pidfd_open(self._process.pid)
            stdin, stdout, stderr = (os.dup(stream.fileno()) for stream in streams if stream)
            super().__init__(stdin=stdin, stdout=stdout, stderr=stderr, limits=limits)
            self._thread = threading.Thread(target=self._watch, name="sandbox watch", daemon=True)
            self._thread.start()
        except (OSError, RuntimeError) as error:  # no descriptor or no thread is left
            self._finish()
            raise NoSandbox(f"The program cannot be watched: {error}") from error
        finally:
            for stream in filter(None, streams):
                stream.close()

    @property
    def pid(self) -> int:
        """The number of the child."""
        return int(self._process.pid)

    def wait(self) -> tuple[int | None, Why]:
        """Wait for its end, at the latest at its limits; status and reason."""
        self._thread.join()
        return self._ending()

    def _end(self, why: Why) -> None:
        if why != "ended" or self._stdout in self._open:
            self._kill(why)
        self._thread.join()

    def _ending(self) -> tuple[int | None, Why]:
        if self._why not in (None, "ended"):
            return None, self._why
        code = self._process.returncode
        if failed := self._command.failure(self._reported, code, bytes(self._errors)):
            raise NoSandbox(failed)
        if code == -signal.SIGXCPU:
            return None, "time"
        return self._command.code(code), "ended"

    def _kill(self, why: Why) -> None:
        with self._lock:
            if self._process.returncode is not None:
                return
            self._why = self._why or why
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _watch(self) -> None:
        try:
            poll = select.poll()
            poll.register(self._ended, select.POLLIN)
            while not poll.poll(_LOOK_MS):
                if why := self._over():
                    self._kill(why)
                    poll.poll()
        finally:
            os.close(self._ended)
            self._finish()

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


class LocalSandbox:
    """A sandbox whose programs are children of this process."""

    name: str

    def command(self, argv: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Command:
        """How to start that program, bound.

        Raises:
            NoSandbox: it cannot be started here.
        """
        raise NotImplementedError

    def start(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, limits: Limits = USUAL
    ) -> ProcessBox:
        """Start a program in a folder of its own, which is gone at its end."""
        for name in files:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ValueError(f"{name!r} is outside of the folder of the program")
        try:
            command = self.command(argv, files, limits)
        except OSError as error:
            raise NoSandbox(f"The program cannot be prepared: {error}") from error
        return ProcessBox(command, limits)

    def run(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, stdin: bytes = b"", limits: Limits = USUAL
    ) -> Result:
        """Run a program to its end."""
        with self.start(argv, files=files, limits=limits) as box:
            return box.finish(stdin)


def _started(command: Command) -> subprocess.Popen[bytes]:
    own: dict[str, Any] = {}
    if command.user is not None:
        own = {"user": command.user, "group": command.user, "extra_groups": []}
    return subprocess.Popen(
        command.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment,
        cwd="/",
        pass_fds=command.descriptors,
        start_new_session=True,
        bufsize=0,
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
