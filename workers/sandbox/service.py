"""The sandbox of another process, asked over a Unix socket: the worker that knows secrets runs no code itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from workers.sandbox.box import PipedBox
from workers.sandbox.process import pipes, refuse_outside, shut
from workers.sandbox.protocol import NO_FILES, USUAL, Limits, NoSandbox, Result, SandboxAway, Why
from workers.sandbox.wire import Connection, Run, WrongRequest

_ANSWER_S: Final = 20.0
"""Seconds for the service to start a program."""
_MOMENT_S: Final = 5.0
"""Seconds after the limit of a program for the service to say how it ended."""
_ATTACK_S: Final = 120.0


class ServiceBox(PipedBox):
    """A program of the service, spoken to through three pipes that the service was handed."""

    def __init__(self, path: Path, run: Run) -> None:
        """Have it started.

        Raises:
            NoSandbox: it cannot be started there, or the service is away.
        """
        self._answer: dict[str, Any] | None = None
        self._connection = connected(path)
        try:
            theirs, ours = pipes()
        except NoSandbox:
            self._connection.socket.close()
            raise
        try:
            self._ask(run, theirs)
        except BaseException:
            shut(ours)
            self._connection.socket.close()
            raise
        finally:
            shut(theirs)
        super().__init__(streams=ours, limits=run.limits)

    def _ask(self, run: Run, streams: tuple[int, int, int]) -> None:
        line, content = run.sent()
        answer = _answered(self._connection, (line, content, streams))
        if "started" not in answer:
            raise _refusal(answer)

    def _end(self, why: Why) -> None:
        if self._answer is not None:
            return
        if why != "ended" or self._stdout in self._open:
            with suppress(OSError):  # it is gone already: its answer is there
                self._connection.send({"end": why})
        self._connection.socket.settimeout(max(self._until - time.monotonic(), 0) + _MOMENT_S)
        try:
            self._answer = self._connection.line() or {}
        except (OSError, WrongRequest):
            self._answer = {}
        self._connection.socket.close()

    def _ending(self) -> tuple[int | None, Why]:
        answer = self._answer or {}
        if "why" not in answer:
            raise _refusal(answer, bytes(self._errors))
        return answer["code"], answer["why"]


class ServiceSandbox:
    """Programs run where the service runs."""

    name = "service"

    def __init__(self, path: Path) -> None:
        """Name the socket. Whether anybody answers there shows with each program."""
        self._path = path

    def start(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, limits: Limits = USUAL
    ) -> ServiceBox:
        """Start a program in a folder of its own, which is gone at its end."""
        refuse_outside(files)
        return ServiceBox(self._path, Run(argv, files, limits))

    def run(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, stdin: bytes = b"", limits: Limits = USUAL
    ) -> Result:
        """Run a program to its end."""
        with self.start(argv, files=files, limits=limits) as box:
            return box.finish(stdin)

    def answers(self) -> None:
        """Return where the service answers.

        Raises:
            SandboxAway: it does not.
        """
        connection = connected(self._path)
        with connection.socket:
            _answered(connection, ({"alive": True}, b"", ()))

    def prove(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Have the service let attacks loose in its own sandbox: a line about itself, then one for each attack.

        Raises:
            NoSandbox: it has none, or it is away.
        """
        connection = connected(self._path)
        with connection.socket:
            answer: dict[str, Any] | None = _answered(connection, ({"prove": list(names)}, b"", ()))
            connection.socket.settimeout(_ATTACK_S)
            try:
                while answer is not None:
                    if "error" in answer:
                        raise _refusal(answer)
                    yield answer
                    answer = connection.line()
            except (OSError, WrongRequest) as error:
                raise SandboxAway(f"The service that runs code broke off: {error}") from error


def connected(path: Path) -> Connection:
    """A connection to the service.

    Raises:
        SandboxAway: nobody answers there.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.settimeout(_ANSWER_S)
    try:
        end.connect(str(path))
    except (OSError, ValueError) as error:
        end.close()
        raise SandboxAway(f"The service that runs code does not answer at {path}: {_reason(error)}") from error
    return Connection(end)


def _answered(connection: Connection, asked: tuple[dict[str, Any], bytes, Sequence[int]]) -> dict[str, Any]:
    """The first line that the service answers."""
    refused = ""
    try:
        connection.send(*asked)
    except OSError as error:  # it may have said why before it hung up
        refused = _reason(error)
    try:
        answer = connection.line()
    except (OSError, WrongRequest) as error:
        raise SandboxAway(f"The service that runs code does not answer: {_reason(error)}") from error
    if answer is None:
        raise SandboxAway(f"The service that runs code hung up. {refused}".strip())
    return answer


def _refusal(answer: dict[str, Any], errors: bytes = b"") -> NoSandbox:
    if "error" in answer:
        said = errors.decode("utf-8", "replace").strip()
        return NoSandbox(f"{answer['error']} {said[:200]}".strip())
    return SandboxAway(str(answer.get("busy") or "The service that runs code ended before the program did."))


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
