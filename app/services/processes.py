"""Child processes that never outlive us: own session each, a death signal, and a watchdog for what is left.

Three nets, because each has a hole. An orderly stop ends every child and then its whole family. A killed supervisor
(``kill -9``, out of memory) cannot do that, so Linux sends each child its death signal; grandchildren and other systems
have none, so a watchdog, forked at the start and asleep on a pipe, ends whole families when the pipe breaks. A family is
known by its sessions, by descent, and by a mark in the environment: a grandchild with a session of its own whose parent
has just died has nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psutil

from app.kernel.settings import ROOT

KEPT_LOGS = 3
GRACE = 5.0
"""Seconds between asking an orphaned family to end and ending it."""
MARK = "CORRAL_SUPERVISOR"
"""The variable that every descendant of one supervisor inherits."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Command:
    """What to run, and how it is watched and ended."""

    name: str
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """More for ``subprocess.Popen``, e.g. the user that it runs as."""
    essential: bool = False
    """Its repeated death ends everything; else it is started again for as long as it takes."""
    once: bool = False
    """It is meant to end."""
    stage: int = 0
    """When everything is stopped, lower stages end first."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_deadline: float = 10.0
    hears: Callable[[str], bool] = lambda _line: False
    """Gets each line of output; True keeps the line out of the log (a secret) and off the console."""
    shows: Callable[[str], bool] = lambda _line: False
    """Whether a line of output also goes to the console."""


class Child:
    """One running :class:`Command` with the reading end of its output."""

    def __init__(self, command: Command, logs: Path, mark: str = "") -> None:
        self.command = command
        self.mark = mark
        self.log = logs / f"{command.name}.log"
        self.started = 0.0
        self.deaths: list[float] = []
        """When it died unasked, newest last; emptied by a minute of health."""
        self.start_again_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        """None until it is started."""
        self.output = -1
        self._rest = b""

    @property
    def name(self) -> str:
        """The prefix of its lines on the console."""
        return self.command.name

    @property
    def running(self) -> bool:
        """Whether the process lives (it is reaped here when it does not)."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> int:
        """Run the command; returns its process id, which is also its session's and group's."""
        self.output, theirs = os.pipe()
        os.set_blocking(self.output, False)
        options: dict[str, Any] = {"cwd": ROOT} | self.command.options
        supervisor, last_wish = os.getpid(), self.command.stop_signal
        try:
            self.process = process = subprocess.Popen(
                self.command.words,
                env=os.environ | self.command.environment | {MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                preexec_fn=lambda: die_with(supervisor, last_wish),  # noqa: PLW1509 - the supervisor has no threads
                **options,
            )
        finally:
            os.close(theirs)
        self.started = time.monotonic()
        self.start_again_at = None
        return process.pid

    def lines(self) -> list[str]:
        """What it wrote since the last call; logs it, except what :attr:`Command.hears` keeps.

        Whole lines only, but for the last words of one that has ended: they often say why.
        """
        found: list[str] = []
        while self.output >= 0:
            try:
                part = os.read(self.output, 65536)
            except BlockingIOError:
                break
            *whole, self._rest = (self._rest + part).split(b"\n")
            found += [line.decode(errors="replace").rstrip() for line in whole]
            if not part:
                if self._rest:
                    found.append(self._rest.decode(errors="replace").rstrip())
                self.close()
        open_lines = [line for line in found if not self.command.hears(line)]
        if open_lines:
            # a full disk must not end the supervisor: it is what tells people about it
            with contextlib.suppress(OSError), self.log.open("a") as log:
                log.write("\n".join(open_lines) + "\n")
        return open_lines

    def close(self) -> None:
        """Stop reading. What it left of a line is not the beginning of its successor's."""
        if self.output >= 0:
            os.close(self.output)
            self.output = -1
        self._rest = b""


def rotate(log: Path) -> None:
    """Put the last run's log aside as ``.1`` and forget the oldest."""
    for number in range(KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if newer.exists():
            newer.replace(older)


def die_with(parent: int, last_wish: signal.Signals) -> None:
    """In the new child: have Linux send ``last_wish`` when ``parent`` dies; leave if it is dead already."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(last_wish), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def family(leaders: Iterable[int], mark: str = "") -> list[psutil.Process]:
    """Every process that bears ``mark`` or is in a session that one of ``leaders`` leads, and every descendant of these."""
    wanted = set(leaders)
    by_parent: dict[int, list[psutil.Process]] = {}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            by_parent.setdefault(process.ppid(), []).append(process)
            if os.getsid(process.pid) in wanted or (mark and process.environ().get(MARK) == mark):
                found.append(process)
    known = {process.pid for process in found}
    for process in found:  # grows while it is walked
        for child in by_parent.get(process.pid, []):
            if child.pid not in known:
                known.add(child.pid)
                found.append(child)
    return found


def end(processes: list[psutil.Process], grace: float) -> None:
    """Ask ``processes`` to end, and kill what has not after ``grace`` seconds. Safe against recycled process ids."""
    if grace:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.terminate()
    for process in psutil.wait_procs(processes, timeout=grace)[1]:
        with contextlib.suppress(psutil.Error):
            process.kill()


class Watchdog:
    """A forked process that ends our children's families when we vanish without saying goodbye."""

    def __init__(self, mark: str) -> None:
        self.pid = 0
        self._mark = mark
        self._pipe = -1
        self._leaders: set[int] = set()

    def start(self) -> None:
        """Fork it. The folder's lock stays open in it, so that nobody starts over the data before it is done."""
        reading, self._pipe = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._pipe)
            _guard(reading, self._mark)
        os.close(reading)
        self.watch(*self._leaders)

    def watch(self, *leaders: int) -> None:
        """Children that lead a session of their own."""
        self._leaders |= set(leaders)
        self._say(*(f"+{leader}" for leader in leaders))

    def forget(self, leader: int) -> None:
        """It has ended."""
        self._leaders.discard(leader)
        self._say(f"-{leader}")

    def renew(self) -> None:
        """Fork another one where it was killed."""
        if os.waitpid(self.pid, os.WNOHANG)[0]:
            os.close(self._pipe)
            self.start()

    def dismiss(self) -> None:
        """Everything has ended in order."""
        self._say("bye")
        os.close(self._pipe)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _say(self, *words: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # :meth:`renew` tells the next one again
            os.write(self._pipe, "".join(f"{word}\n" for word in words).encode())


def _guard(reading: int, mark: str) -> NoReturn:
    """The watchdog's life: listen until the pipe breaks, then end what was named and not taken back."""
    os.setsid()
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(ignored, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    leaders: set[int] = set()
    with os.fdopen(reading) as pipe:
        for line in pipe:
            word = line.strip()
            if word == "bye":
                os._exit(0)
            (leaders.add if word[0] == "+" else leaders.discard)(int(word[1:]))
    end(family(leaders, mark), GRACE)
    while left := family(leaders, mark):  # what was started while we looked
        end(left, 0)
    os._exit(0)
