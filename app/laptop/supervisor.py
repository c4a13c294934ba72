"""Runs child processes until told to stop: reads their output, restarts those that died, stops them in order.

One thread and one loop. Whatever waits (:meth:`Supervisor.until`) turns that loop, so output keeps flowing, deaths are
noticed and Ctrl-C works at every moment.
"""

from __future__ import annotations

import contextlib
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Self

from app.kernel.errors import CannotStart
from app.services.embedded import reason
from app.services.processes import Child, Command, Watchdog, end, family, rotate

HEALTHY = 60.0
"""Seconds of life after which earlier deaths are forgiven."""
FEW = 3
"""Deaths of an essential child within :data:`HEALTHY` seconds that are survived."""
SLOWEST = 60.0
"""Seconds between two starts of a child that keeps dying."""


class Stopped(Exception):
    """Ctrl-C or SIGTERM came; not a failure."""


class ChildFailed(CannotStart):
    """A one-off child exited with a failure; the message is its last line of output."""


class Console:
    """Calm lines with a prefix per child. A console that went away (a closed pipe) is no reason to stop."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty()

    def say(self, name: str, text: str) -> None:
        """One line."""
        prefix = f"{name:<11}"
        if self._colour:
            prefix = f"\x1b[2m{prefix}\x1b[0m"
        self.plain(f"{time.strftime('%H:%M:%S')}  {prefix} {text}")

    def plain(self, text: str) -> None:
        """A line without a prefix."""
        with contextlib.suppress(OSError, ValueError):
            print(text, flush=True)  # noqa: T201 - this is the console


class Supervisor:
    """The children of one ``corral up``. Use it as a context manager: nothing it started outlives the block."""

    def __init__(self, logs: Path, console: Console) -> None:
        self.logs = logs
        self.console = console
        self.children: dict[str, Child] = {}
        self._mark = secrets.token_hex(8)
        self._watchdog = Watchdog(self._mark)
        self._selector = selectors.DefaultSelector()
        self._signals = 0
        self._stopping = False

    def __enter__(self) -> Self:
        self._watchdog.start()
        wake, wakened = socket.socketpair()
        wake.setblocking(False)
        wakened.setblocking(False)
        self._wake = wake, wakened
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup has it ignored, and means that a closed terminal is no reason to stop
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._asked)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only has to end the select() below
        self._selector.register(wakened, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._watchdog.dismiss()
        signal.set_wakeup_fd(-1)
        for end_of_pair in self._wake:
            end_of_pair.close()
        self._selector.close()

    def start(self, command: Command) -> Child:
        """Start a child; its log of the last run is put aside."""
        child = self.children.get(command.name)
        if child is None:
            child = self.children[command.name] = Child(command, self.logs, self._mark)
            rotate(child.log)
        child.command = command
        self._launch(child)
        return child

    def run(self, command: Command, within: float) -> None:
        """Start a one-off child and wait until it exits.

        Raises:
            ChildFailed: it failed.
            CannotStart: it took longer.
        """
        child = self.start(command)
        self.until(lambda: not child.running, within, f"{command.name} did not finish in time; see {child.log}.")
        self.finish(child)

    def finish(self, child: Child) -> None:
        """Forget a child that has exited.

        Raises:
            ChildFailed: it ended with a status other than 0.
        """
        self._read(child)
        self._forget(child)
        del self.children[child.name]
        if child.process is not None and child.process.returncode:
            raise ChildFailed(reason(child.log).removeprefix("corral: "))

    def until(self, reached: Callable[[], bool], within: float, otherwise: str) -> None:
        """Turn the loop until ``reached()``.

        Raises:
            CannotStart: after ``within`` seconds, saying ``otherwise``; or an essential child keeps dying.
            Stopped: the user wants to stop.
        """
        deadline = time.monotonic() + within
        while not reached():
            if time.monotonic() > deadline:
                raise CannotStart(otherwise)
            self.turn(0.05)

    def forever(self) -> None:
        """Turn the loop until the user wants to stop (raises :class:`Stopped`) or an essential child keeps dying."""
        while True:
            self.turn(1.0)

    def turn(self, patience: float) -> None:
        """One turn: output, deaths, starts that are due. Waits at most ``patience`` seconds for something to do."""
        due = [child.start_again_at - time.monotonic() for child in self.children.values() if child.start_again_at]
        self._pump(max(0.0, min([patience, *due])))
        if self._signals:
            raise Stopped
        self._watchdog.renew()
        for child in list(self.children.values()):
            if child.start_again_at is not None and child.start_again_at <= time.monotonic():
                self._launch(child)
            elif child.start_again_at is None and not child.command.once and not child.running:
                self._died(child)

    def _launch(self, child: Child) -> None:
        self._watchdog.watch(child.start())
        self._selector.register(child.output, selectors.EVENT_READ, child)

    def _pump(self, patience: float) -> None:
        for key, _ in self._selector.select(patience):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake[1].recv(4096)
            else:
                self._read(key.data)

    def _read(self, child: Child) -> None:
        output = child.output
        for line in child.lines():
            if child.command.shows(line) and not self._stopping:  # what is said in parting is in the logs
                self.console.say(child.name, line)
        if output >= 0 and child.output < 0:
            self._selector.unregister(output)

    def _forget(self, child: Child) -> None:
        """After its end: nothing of its family stays, its pipe is closed."""
        if child.process is None:
            return
        end(family([child.process.pid]), 0)
        self._watchdog.forget(child.process.pid)
        if child.output >= 0:
            self._selector.unregister(child.output)
            child.close()

    def _died(self, child: Child) -> None:
        self._read(child)
        self._forget(child)
        now = time.monotonic()
        if now - child.started > HEALTHY:
            child.deaths.clear()
        child.deaths.append(now)
        if child.command.essential and len(child.deaths) > FEW:
            raise CannotStart(
                f"{child.name} ended {len(child.deaths)} times within a minute, so Corral stopped everything. The "
                f"last time it {how_it_ended(child)}; see {child.log}."
            )
        wait = min(SLOWEST, 0.5 * 2.0 ** (len(child.deaths) - 1))
        child.start_again_at = now + wait
        self.console.say(child.name, f"{how_it_ended(child)}; starting again in {wait:g} s; see {child.log}")

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _stop(self) -> None:
        """End everything in order. A second Ctrl-C ends it at once."""
        self._signals, self._stopping = 0, True
        for stage in sorted({child.command.stage for child in self.children.values()}):
            self._stop_together(child for child in self.children.values() if child.command.stage == stage)
        end(family((), self._mark), 0)

    def _stop_together(self, children: Iterable[Child]) -> None:
        living = [(child, child.process) for child in children if child.running and child.process]
        relatives = family(process.pid for _, process in living)
        for child, process in living:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(child.command.stop_signal)
        started = time.monotonic()
        while any(child.running and time.monotonic() - started < child.command.stop_deadline for child, _ in living):
            self._pump(0.05)
            if self._signals:
                break
        end([*relatives, *family(process.pid for _, process in living)], 0)
        for child, process in living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            self._read(child)
            self._forget(child)


def how_it_ended(child: Child) -> str:
    """``was killed (SIGKILL)`` or ``ended with status 1 (its last word of an error)``."""
    status = child.process.returncode if child.process else 0
    if status < 0:
        return f"was killed ({signal.Signals(-status).name})"
    return f"ended with status {status} ({reason(child.log)})" if status else "ended"
