"""A started program that is spoken to through pipes, wherever it runs."""

from __future__ import annotations

import os
import select
import time
from types import TracebackType
from typing import Final, Self

from workers.sandbox.protocol import Limits, Result, Stopped, Why
from workers.sandbox.watched import Streams

_CHUNK: Final = 1 << 16
_KEPT_OF_STDERR: Final = 20_000
_MOMENT_S: Final = 2.0
"""For what has been ended already to be gone."""


class PipedBox:
    """Never waits on one pipe alone: a program that writes much and reads little stops nobody.

    It keeps no more of the output than the limits allow. Subclasses say how it is ended and how it ended.
    """

    def __init__(self, *, streams: Streams, limits: Limits) -> None:
        """Take over the three descriptors of this side."""
        stdin, stdout, stderr = streams
        self._stdin, self._stdout = stdin, stdout
        self._open = {stdout, stderr}
        self._limits = limits
        self._until = time.monotonic() + limits.wall_s + _MOMENT_S  # the watch ends it at wall_s
        self._read = bytearray()
        self._total = {stdout: 0, stderr: 0}
        self._errors = bytearray()
        for end in streams:
            os.set_blocking(end, False)

    # ── What a subclass does ─────────────────────────────────────────────────────────────────────────────────────────
    def _end(self, why: Why) -> None:
        """End the program and wait until it is gone; the first reason stays. Ended already: only wait."""
        raise NotImplementedError

    def _ending(self) -> tuple[int | None, Why]:
        """Status and reason of a program that is gone.

        Raises:
            NoSandbox: it never started.
        """
        raise NotImplementedError

    # ── Box ──────────────────────────────────────────────────────────────────────────────────────────────────────────
    def send(self, line: bytes) -> bool:
        """Write a line to it. False: it reads no more."""
        return self._exchange(line + b"\n", self._until) and self._stdin >= 0

    def line(self, until: float) -> bytes:
        """Its next line, without the line feed."""
        while (at := self._read.find(b"\n")) < 0:
            if self._stdout not in self._open:
                self._end("ended")
                raise Stopped(self._ending()[1])
            if (left := min(until, self._until) - time.monotonic()) <= 0:
                self._end("time")
                self._ending()
                raise Stopped("time")
            self._step(b"", left)
        found = bytes(self._read[:at])
        del self._read[: at + 1]
        return found

    def stderr(self) -> bytes:
        """The last 20 KB that it wrote to its standard error until now."""
        while self._step(b"", 0)[1]:
            pass
        return bytes(self._errors)

    def kill(self) -> None:
        """End it, and close this side of its pipes."""
        self._end("ended")
        self._shut_stdin()
        for end in self._open:
            os.close(end)
        self._open.clear()

    def finish(self, stdin: bytes) -> Result:
        """Give it its whole input and wait for its end."""
        if self._exchange(stdin, self._until):
            self._shut_stdin()
        while self._open and (left := self._until - time.monotonic()) > 0:
            self._step(b"", left)
        self._end("time" if self._open else "ended")
        code, why = self._ending()
        stopped = "" if why == "ended" else why
        return Result(
            code=None if stopped else code,
            stdout=bytes(self._read[: self._limits.output_bytes]),
            stderr=bytes(self._errors),
            stopped=stopped,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    # ── Pipes ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _exchange(self, data: bytes, until: float) -> bool:
        """Write all of it, reading what comes meanwhile. False: nobody reads it."""
        rest = memoryview(data)
        while rest:
            if self._stdin < 0 or (left := until - time.monotonic()) <= 0 or not self._open:
                return False
            written, _read = self._step(rest, left)
            rest = rest[written:]
        return True

    def _step(self, data: bytes | memoryview, wait_s: float) -> tuple[int, bool]:
        """Wait until a pipe is ready, then write and read once. How much was written, and whether anything was read."""
        poll = select.poll()
        for end in self._open:
            poll.register(end, select.POLLIN)
        if data and self._stdin >= 0:
            poll.register(self._stdin, select.POLLOUT)
        ready = [end for end, _event in poll.poll(max(0.0, wait_s) * 1000)]
        written = 0
        if data and self._stdin in ready:
            try:
                written = os.write(self._stdin, data)
            except BlockingIOError:
                pass  # less room than the smallest write that goes in one piece
            except OSError:
                self._shut_stdin()
        readable = [end for end in ready if end in self._open]
        for end in readable:
            self._receive(end)
        return written, bool(readable)

    def _receive(self, end: int) -> None:
        try:
            chunk = os.read(end, _CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self._open.discard(end)
            os.close(end)
            return
        self._total[end] += len(chunk)
        if end == self._stdout:
            self._read += chunk
        else:
            self._errors = (self._errors + chunk)[-_KEPT_OF_STDERR:]
        if self._total[end] > self._limits.output_bytes:
            self._end("output")
            self._open.discard(end)
            os.close(end)

    def _shut_stdin(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1
