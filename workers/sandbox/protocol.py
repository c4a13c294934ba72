"""What runs code that nobody has read, as its callers see it.

Nothing here raises for what the code does: it ends, or it is stopped and ``stopped`` says why. ``NoSandbox`` says that the
code could not be run at all, which is a check that could not be made and never one that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Protocol, Self

Why = Literal["ended", "time", "memory", "output", "files", "processes"]
"""Why there is nothing more from a program: it ended by itself, or it went over that limit."""

NO_FILES: Final[Mapping[str, bytes]] = MappingProxyType({})


class NoSandbox(Exception):
    """Nothing here can run code safely, or not this program; the message says what to install."""


class SandboxAway(NoSandbox):
    """The service that runs code is away or has no place left: the same may be run in a moment."""


class Stopped(Exception):
    """A program gives no further line.

    Attributes:
        why: "ended" where it ended by itself, else the limit that stopped it.
    """

    def __init__(self, why: Why) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one program may take, with everything that it starts.

    Attributes:
        wall_s: Seconds from its start to its end.
        cpu_s: Seconds of processor time of each process.
        memory_mb: Memory of all processes together.
        output_bytes: Bytes of the standard output, and as many of the standard error.
        file_mb: Size of one file; all files together may take four times as much.
        processes: Processes and threads at a time.
    """

    wall_s: float = 5.0
    cpu_s: int = 6
    memory_mb: int = 512
    output_bytes: int = 1 << 20
    file_mb: int = 16
    processes: int = 64


USUAL: Final = Limits()


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended.

    Attributes:
        code: Its exit status, negative for a signal; None where it was stopped.
        stdout: What it wrote, at most ``Limits.output_bytes``.
        stderr: The last 20 KB of what it wrote there.
        stopped: Empty where it ended by itself, else the limit that stopped it.
    """

    code: int | None
    stdout: bytes
    stderr: bytes
    stopped: Literal["", "time", "memory", "output", "files", "processes"]


class Box(Protocol):
    """One started program, spoken to in lines. Leaving the context ends it."""

    def send(self, line: bytes) -> bool:
        """Write a line to it (the line feed is added). False: it reads no more."""

    def line(self, until: float) -> bytes:
        """Its next line, without the line feed, waiting until that time of ``time.monotonic()`` at most.

        Raises:
            Stopped: there is none: ``why`` says whether it ended or what stopped it. After "time" nothing more comes.
            NoSandbox: the sandbox itself could not start.
        """

    def stderr(self) -> bytes:
        """The last 20 KB that it wrote to its standard error until now."""

    def kill(self) -> None:
        """End it with everything that it started. A second time does nothing."""

    def __enter__(self) -> Self:
        """The box itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""


class Sandbox(Protocol):
    """A way to run a program that may do nothing but compute."""

    name: str
    """ "bubblewrap", "landlock", or "service" for one that runs elsewhere."""

    def start(self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, limits: Limits = USUAL) -> Box:
        """Start a program.

        Args:
            argv: The program, "python", "node", "bash" or "sqlite", which the sandbox finds, and its arguments.
            files: Contents by name, relative to the folder in which the program starts; "a/b.py" makes the folder "a".
            limits: How much it may take.

        Raises:
            NoSandbox: it cannot be started here; the message says what is missing. ``SandboxAway`` where that may
                change in a moment.
        """

    def run(
        self,
        argv: Sequence[str],
        *,
        files: Mapping[str, bytes] = NO_FILES,
        stdin: bytes = b"",
        limits: Limits = USUAL,
    ) -> Result:
        """Run a program to its end; arguments and errors are those of ``start``."""
