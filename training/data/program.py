"""A program of somebody else's that is spoken to in lines of JSON: one request, one answer, both under an `id`."""

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

ANSWER_S = 600.0
"""Seconds after which a program that says nothing is taken for dead."""
TRIES = 2


class GoneError(Exception):
    """The program is not there, or ended; the message says which."""


class Program:
    """The program, started with the first request. It bounds the time of its work itself.

    `unavailable` says why it is not asked any more: no command is set, or it was started again and was gone again.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.unavailable = None if command else "no command is set"
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """What it answers; None where it is unavailable. One that is gone is started once more."""
        for left in reversed(range(TRIES)):
            if self.unavailable:
                break
            try:
                return self.read(self._answer(request))
            except (GoneError, OSError) as error:
                self._end()
                self.unavailable = None if left else str(error)
        return None

    def read(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer, if it is understood.

        Raises:
            GoneError: it is not: whoever says such things is another program.
        """
        return answer

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._started()
        self._asked += 1
        assert process.stdin is not None  # noqa: S101  it is a pipe
        process.stdin.write(json.dumps({"id": self._asked, **request}).encode() + b"\n")
        process.stdin.flush()
        line = self._line(process)
        try:
            answer = json.loads(line)
        except ValueError:
            raise GoneError(f"{self._words} answers what is no JSON: {line[:80]!r}") from None
        if not isinstance(answer, dict) or answer.get("id") != self._asked:
            raise GoneError(f"{self._words} answers something else than it was asked: {line[:80]!r}")
        return answer

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._read:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                raise GoneError(f"{self._words} did not answer within {ANSWER_S:g} s")
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                raise GoneError(f"{self._words} ended with status {process.wait()} instead of answering")
            self._read += part
        line, self._read = self._read.split(b"\n", 1)
        return line

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._read = b""
            try:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except OSError as error:
                raise GoneError(f"{self._words} cannot be started ({error.strerror})") from error
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=5)  # it leaves when its input ends
        except (subprocess.TimeoutExpired, OSError):
            process.kill()
            process.communicate()

    @property
    def _words(self) -> str:
        return f"“{' '.join(self._command)}”"
