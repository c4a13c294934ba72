"""Landlock, a filter of system calls and limits: needs no privilege, no namespace and no package, only Linux 5.13."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from workers.sandbox import confine, watch
from workers.sandbox.filters import filter_of
from workers.sandbox.process import LocalSandbox
from workers.sandbox.programs import SYSTEM, Program, program
from workers.sandbox.protocol import Limits, NoSandbox
from workers.sandbox.syscalls import here
from workers.sandbox.watched import ENVIRONMENT, MB, Command

_NOBODY: Final = 65534
_FIRST_USER: Final = 0x6000_0000
"""From here on, a process that is root gives each program a user of its own, so that limits and signals are that one's."""

_STACK_MB: Final = 8

_turn = count()


class LandlockSandbox(LocalSandbox):
    """Code sees the processes and files of this machine and may touch none of them."""

    name = "landlock"

    def __init__(self, version: int | None = None) -> None:
        """Take the kernel's version of Landlock, or pretend that it has an older one.

        Raises:
            NoSandbox: the kernel has none, or the processor is none that is known here.
        """
        newest = confine.landlock_version()
        self._version = newest if version is None else min(version, newest)
        architecture = here()
        if self._version < 1:
            raise NoSandbox("This kernel has no Landlock (Linux 5.13 and later, with lsm=…,landlock).")
        if architecture is None:
            raise NoSandbox("Code is only run on x86_64 and aarch64.")
        self._filter = filter_of(architecture, on_the_host=True, landlock=self._version).hex()

    def command(self, argv: Sequence[str], files: Mapping[str, bytes], limits: Limits) -> Command:
        """The program behind the one that binds itself and becomes it."""
        root = os.geteuid() == 0
        users = (_FIRST_USER + (os.getpid() << 6 & 0x0FFF_FFC0) + next(_turn) % 64, _NOBODY)
        found = program(argv[0], _NOBODY if root else os.geteuid())
        work = _folder(files, users if root else ())
        status, told = os.pipe()
        options = [each.format(memory_mb=limits.memory_mb) for each in found.options]
        return Command(
            argv=[
                *(sys.executable, "-I", "-S", confine.__file__, str(told), str(work)),
                *(",".join(map(str, users)), str(self._version), self._filter, _limits(limits, found, root=root)),
                *(":".join([*SYSTEM, *filter(None, [found.folder])]), "--", found.path, *options, *argv[1:]),
            ],
            environment={**ENVIRONMENT, "HOME": str(work), "TMPDIR": str(work)},
            descriptors=(told,),
            status=status,
            failure=_failure,
            used=lambda processes: watch.used_in(work, processes),
            code=lambda code: code,
            user=None,
            clean=lambda: _clear(work),
        )


def limits_of(limits: Limits, found: Program) -> dict[int, int]:
    """The limits of each process, by their number, without that on how many there are."""
    bounds = {
        resource.RLIMIT_FSIZE: limits.file_mb * MB,
        resource.RLIMIT_CPU: limits.cpu_s,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if not found.own_memory:
        # Stacks of threads are reserved, not taken: what is taken is watched.
        bounds[resource.RLIMIT_AS] = (limits.memory_mb + _STACK_MB * limits.processes) * MB
    return bounds


def _limits(limits: Limits, found: Program, *, root: bool) -> str:
    bounds = limits_of(limits, found)
    # The system counts all threads of a user. One of its own has no others; elsewhere other programs start and end
    # meanwhile, so this is the limit of what a fork bomb reaches before the watch sees it.
    bounds[resource.RLIMIT_NPROC] = limits.processes if root else 8 * limits.processes + _threads_of_user()
    return ",".join(f"{number}={value}" for number, value in bounds.items())


def _threads_of_user() -> int:
    user, threads = os.geteuid(), 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and process.stat().st_uid == user:
                threads += len(list((process / "task").iterdir()))
        except OSError:
            continue
    return threads


def _folder(files: Mapping[str, bytes], users: tuple[int, ...]) -> Path:
    """A new folder with the files, for the first of the users that the system knows."""
    work = Path(tempfile.mkdtemp(prefix="corral-sandbox-"))
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for user in users:
        try:
            for path in (work, *work.rglob("*")):
                os.chown(path, user, user)
        except OSError:
            continue
        break
    return work


def _clear(work: Path) -> None:
    """Remove the folder, however deep it is and whatever rights the program gave to its parts."""
    try:
        shutil.rmtree(work)
    except (OSError, RecursionError):
        for step in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
            subprocess.run([f"/bin/{step[0]}", *step[1:], "--", work], check=False, capture_output=True)


def _failure(reported: bytes, _code: int, _errors: bytes) -> str | None:
    said = reported.decode("utf-8", "replace").strip()
    return f"The sandbox (landlock) could not start: {said}" if said else None
