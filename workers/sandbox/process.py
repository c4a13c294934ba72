"""A program that runs as a child of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from workers.sandbox.box import PipedBox
from workers.sandbox.protocol import NO_FILES, USUAL, Limits, NoSandbox, Result, Why
from workers.sandbox.watched import Command, Streams, WatchedProcess


class ProcessBox(PipedBox):
    """A child process, spoken to through three pipes of its own."""

    def __init__(self, start: Callable[[Streams], WatchedProcess], limits: Limits) -> None:
        """Start it.

        Raises:
            NoSandbox: it cannot be started.
        """
        theirs, ours = pipes()
        try:
            self._process = start(theirs)
        except BaseException:
            shut(ours)
            raise
        finally:
            shut(theirs)
        super().__init__(streams=ours, limits=limits)

    @property
    def pid(self) -> int:
        """The number of the child."""
        return self._process.pid

    def wait(self) -> tuple[int | None, Why]:
        """Wait for its end, at the latest at its limits; status and reason."""
        self._process.wait()
        return self._ending()

    def _end(self, why: Why) -> None:
        if why != "ended" or self._stdout in self._open:
            self._process.kill(why)
        self._process.wait()

    def _ending(self) -> tuple[int | None, Why]:
        return self._process.ending(bytes(self._errors))


class LocalSandbox:
    """A sandbox whose programs are children of this process."""

    name: str

    def command(self, argv: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Command:
        """How to start that program, bound.

        Raises:
            NoSandbox: it cannot be started here.
        """
        raise NotImplementedError

    def launch(
        self,
        argv: Sequence[str],
        files: Mapping[str, bytes],
        limits: Limits,
        streams: Streams,
        gone: Callable[[], None] = lambda: None,
    ) -> WatchedProcess:
        """Start a program with these standard streams, in a folder of its own that is gone at its end.

        Raises:
            NoSandbox: it cannot be started here.
            ValueError: a file is outside of that folder.
        """
        refuse_outside(files)
        try:
            command = self.command(argv, files, limits)
        except OSError as error:
            raise NoSandbox(f"The program cannot be prepared: {error}") from error
        return WatchedProcess(command, limits, streams, gone)

    def start(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, limits: Limits = USUAL
    ) -> ProcessBox:
        """Start a program in a folder of its own, which is gone at its end."""
        return ProcessBox(lambda streams: self.launch(argv, files, limits, streams), limits)

    def run(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, stdin: bytes = b"", limits: Limits = USUAL
    ) -> Result:
        """Run a program to its end."""
        with self.start(argv, files=files, limits=limits) as box:
            return box.finish(stdin)


def refuse_outside(files: Iterable[str]) -> None:
    """Refuse names of files that are not below the folder of a program.

    Raises:
        ValueError: one is; the message names it.
    """
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r} is outside of the folder of the program")


def pipes() -> tuple[Streams, Streams]:
    """Three pipes for the standard streams of a program: its ends, and ours.

    Raises:
        NoSandbox: no descriptor is left.
    """
    made: list[tuple[int, int]] = []
    try:
        made += (os.pipe() for _ in range(3))
    except OSError as error:
        shut([end for pair in made for end in pair])
        raise NoSandbox(f"The program cannot be prepared: {error}") from error
    (stdin, to), (read, stdout), (errors, stderr) = made
    return (stdin, stdout, stderr), (to, read, errors)


def shut(ends: Sequence[int]) -> None:
    """Close descriptors, each as far as it is open."""
    for end in ends:
        with suppress(OSError):
            os.close(end)
