"""What a worker and the service that runs code say to each other, over a Unix socket, one connection a request.

The worker sends one line of JSON, then the contents of files; the service answers in lines of JSON::

    {"run": {"argv": […], "files": {name: bytes}, "limits": {…}}} + the files, and with the first byte three descriptors
        {"started": true}                       it runs, with those as its standard input, output and error
        {"code": int | null, "why": "ended"}    it is gone, and why; the connection ends
        {"error": "…"}  {"busy": "…"}           it was never started; busy: the same may work in a moment
    {"prove": [attacks]}
        {"sandbox": …, "service": {…}}, then one line for each attack (``python -m workers.sandbox prove``)
    {"alive": true}
        the same

While a program runs the worker may send ``{"end": why}``; where its connection ends, the program is ended as well.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from workers.sandbox.protocol import Limits

VARIABLE: Final = "CORRAL_SANDBOX_SOCKET"
"""The setting that names the socket."""
MOST_LINE: Final = 8 << 20
"""Bytes of a line: code may be an argument of a program."""
MOST_FILES: Final = 64 << 20
"""Bytes of all files of a request."""
_CHUNK: Final = 1 << 16
_STREAMS: Final = 3


class WrongRequest(Exception):
    """What was sent is no request, or too much; the message says which."""


@dataclass(frozen=True, slots=True)
class Run:
    """A program to be run.

    Attributes:
        argv: The program by its short name, and its arguments.
        files: Contents by name.
        limits: How much it may take.
    """

    argv: Sequence[str]
    files: Mapping[str, bytes]
    limits: Limits

    def sent(self) -> tuple[dict[str, Any], bytes]:
        """As a request: the line, and what follows it."""
        sizes = {name: len(content) for name, content in self.files.items()}
        return {"run": {"argv": list(self.argv), "files": sizes, "limits": asdict(self.limits)}}, b"".join(
            self.files.values()
        )

    @classmethod
    def received(cls, line: dict[str, Any], connection: Connection) -> Self:
        """From what stands under "run" and the files that follow it.

        Raises:
            WrongRequest: it is none.
        """
        try:
            limits = Limits(**line["limits"])
            argv, sizes = [str(each) for each in line["argv"]], {str(k): int(v) for k, v in line["files"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WrongRequest(f"no request: {error!r}") from error
        if not argv or any(size < 0 for size in sizes.values()) or sum(sizes.values()) > MOST_FILES:
            raise WrongRequest(f"no program, or files of more than {MOST_FILES >> 20} MB")
        return cls(argv, {name: connection.content(size) for name, size in sizes.items()}, limits)


@dataclass(slots=True)
class Connection:
    """Lines, contents and descriptors over a stream socket, whose time-out bounds each wait."""

    socket: socket.socket
    streams: list[int] = field(default_factory=list)
    """Descriptors that have come; whoever reads them closes them."""
    _read: bytearray = field(default_factory=bytearray)

    def send(self, line: dict[str, Any], content: bytes = b"", streams: Sequence[int] = ()) -> None:
        """Send a line with what follows it, the descriptors with its first byte.

        Raises:
            OSError: nobody reads it.
        """
        data = json.dumps(line).encode() + b"\n"
        if streams:
            sent = socket.send_fds(self.socket, [data], streams)
            data = data[sent:]
        self.socket.sendall(data)
        if content:
            self.socket.sendall(content)

    def line(self) -> dict[str, Any] | None:
        """The next line; None where the connection ended.

        Raises:
            OSError: it does not come in time.
            WrongRequest: it is none, or too long.
        """
        while (at := self._read.find(b"\n")) < 0:
            if len(self._read) > MOST_LINE:
                raise WrongRequest(f"a line of more than {MOST_LINE >> 20} MB")
            if not self._receive():
                return None
        text = bytes(self._read[:at])
        del self._read[: at + 1]
        try:
            found = json.loads(text)
        except ValueError as error:
            raise WrongRequest(f"no JSON: {error}") from error
        if not isinstance(found, dict):
            raise WrongRequest("no object")
        return found

    def content(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            OSError: they do not come in time.
            WrongRequest: the connection ended before they came.
        """
        while len(self._read) < size:
            if not self._receive():
                raise WrongRequest("the connection ended within a file")
        found = bytes(self._read[:size])
        del self._read[:size]
        return found

    def close_streams(self) -> None:
        """Close the descriptors that have come."""
        while self.streams:
            with suppress(OSError):
                os.close(self.streams.pop())

    def _receive(self) -> bool:
        space = socket.CMSG_SPACE(_STREAMS * array("i").itemsize)
        data, beside, _flags, _from = self.socket.recvmsg(_CHUNK, space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, packed in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                ends = array("i")
                ends.frombytes(packed[: len(packed) - len(packed) % ends.itemsize])
                self.streams += ends
        self._read += data
        return bool(data)
