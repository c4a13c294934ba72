"""Bubblewrap: namespaces in which code sees the system read-only, a small folder in memory, and nothing else."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from workers.sandbox import watch
from workers.sandbox.filters import filter_of
from workers.sandbox.landlock import limits_of
from workers.sandbox.process import LocalSandbox
from workers.sandbox.programs import SYSTEM, Program, program
from workers.sandbox.protocol import Limits, NoSandbox
from workers.sandbox.syscalls import here
from workers.sandbox.watched import ENVIRONMENT, MB, Command

_WORK: Final = "/box"
_NOBODY: Final = 65534
_NAMES: Final = ("as", "fsize", "cpu", "nofile", "core", "memlock", "msgqueue")
"""The limits of a process as prlimit calls them."""


class BubblewrapSandbox(LocalSandbox):
    """Code sees no process, no file and no network of this machine but the programs that it may run."""

    name = "bubblewrap"

    def __init__(self) -> None:
        """Look for the two programs.

        Raises:
            NoSandbox: bubblewrap or prlimit is not installed, or the processor is none that is known here.
        """
        wrap, limit, architecture = shutil.which("bwrap"), shutil.which("prlimit"), here()
        if wrap is None or limit is None:
            raise NoSandbox("bubblewrap is not installed: `apt install bubblewrap util-linux`.")
        if architecture is None:
            raise NoSandbox("Code is only run on x86_64 and aarch64.")
        self._wrap, self._limit = wrap, limit
        self._filter = filter_of(architecture, on_the_host=False)

    def command(self, argv: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Command:
        """The program behind bubblewrap. Who is root gives that up first: inside, root would still be root."""
        root = os.geteuid() == 0
        found = program(argv[0], _NOBODY if root else os.geteuid())
        options = [each.format(memory_mb=limits.memory_mb) for each in found.options]
        status, told = os.pipe()
        filtered = _readable(self._filter)
        contents = {name: _readable(content) for name, content in files.items()}
        return Command(
            argv=[
                *(self._wrap, *_namespaces(), *_view(found, limits), "--json-status-fd", str(told)),
                *(each for name, end in contents.items() for each in ("--file", str(end), f"{_WORK}/{name}")),
                *("--seccomp", str(filtered), "--remount-ro", "/", "--chdir", _WORK, "--"),
                # Inside, where the system counts the processes of this sandbox alone.
                *(self._limit, *_limits(limits, found), "--", found.path, *options, *argv[1:]),
            ],
            environment={**ENVIRONMENT, "HOME": _WORK, "TMPDIR": _WORK},
            descriptors=(told, filtered, *contents.values()),
            status=status,
            failure=_failure,
            used=lambda processes: watch.used_on(_WORK, processes),
            code=_code,
            user=_NOBODY if root else None,
            clean=lambda: None,
        )


def _namespaces() -> list[str]:
    return ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]


def _view(found: Program, limits: Limits) -> list[str]:
    """The file system: every place that can be written to is in memory and has a size."""
    binds = []
    for path in [*SYSTEM, *filter(None, [found.folder])]:
        if (link := Path(path)).is_symlink():
            binds += ["--symlink", str(link.readlink()), path]
        else:
            binds += ["--ro-bind-try", path, path]
    return [
        *binds,
        *("--proc", "/proc", "--dev", "/dev", "--size", str(MB), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),  # noqa: S108  # the code's
        *("--size", str(4 * limits.file_mb * MB), "--tmpfs", _WORK, "--symlink", _WORK, "/tmp"),  # noqa: S108  # the code's
    ]


def _limits(limits: Limits, found: Program) -> list[str]:
    names = {getattr(resource, f"RLIMIT_{name.upper()}"): name for name in _NAMES}
    bounds = {names[number]: value for number, value in limits_of(limits, found).items()}
    return [f"--{name}={value}:{value}" for name, value in {**bounds, "nproc": limits.processes}.items()]


def _readable(content: bytes) -> int:
    """A descriptor from which the content can be read, at its beginning."""
    end = os.memfd_create("sandbox", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(end), "wb") as file:
        file.write(content)
    os.lseek(end, 0, os.SEEK_SET)
    return end


def _code(code: int) -> int:
    """What a signal ended, it reports as a shell does: 128 and the signal."""
    return 128 - code if 128 < code <= 128 + max(signal.Signals) else code


def _failure(reported: bytes, code: int, errors: bytes) -> str | None:
    """The exit status is told only of a program that was started."""
    told: dict[str, int] = {}
    for line in reported.splitlines():
        told |= json.loads(line)
    if "exit-code" in told:
        return None
    said = errors.decode("utf-8", "replace").strip() or f"bubblewrap ended with {code}"
    return f"The sandbox (bubblewrap) could not start: {said}"
