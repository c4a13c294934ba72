"""Proves a sandbox: lets attacks loose in it, and looks from outside whether anything was hurt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from workers.sandbox import attacks
from workers.sandbox.protocol import Limits, Result, Sandbox
from workers.sandbox.syscalls import here

QUICK: Final = ("secrets", "net")
"""The two that say most in the least time: what it could read, and whom it could tell."""

_LIMITS: Final = Limits(wall_s=20, cpu_s=10, memory_mb=128, file_mb=4)
_OF_ATTACK: Final[dict[str, dict[str, Any]]] = {
    "loop": {"wall_s": 3},
    "sleep": {"wall_s": 3},
    "forkbomb": {"memory_mb": 4096},  # what children share counts for each
    "threads": {"memory_mb": 4096},
}
_GONE_WITHIN_S: Final = 10.0
_CANARY: Final = """
import os, signal
signal.signal(signal.SIGURG, lambda *_: os._exit(1))
print(flush=True)
while True: signal.pause()
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attack.

    Attributes:
        attack: Its name.
        open: Whether nothing stopped it; None where it never began, so that nothing is known.
        got: What it says that it achieved, how it ended, and what was seen from outside.
    """

    attack: str
    open: bool | None
    got: str


class Targets:
    """What attacks aim at: a process, files, sockets and a secret, made for the purpose and watched."""

    def __enter__(self) -> Self:
        """Set them up."""
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="corral-target-"))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o755)  # the rights of the files are what keeps others out
            self.secret = uuid4().hex
            self.abstract = f"corral-{uuid4().hex}"
            self.file = self.folder / "secret"
            self.file.write_text(self.secret)
            self.file.chmod(0o600)
            self.readable = self.folder / "public" / "file"
            self.readable.parent.mkdir()
            self.readable.write_text("public")
            self.sockets = self._sockets(stack)
            environment = {**os.environ, "CORRAL_TARGET": self.secret}
            os.environ["CORRAL_TARGET"] = self.secret  # what a sandbox must not hand on
            stack.callback(os.environ.pop, "CORRAL_TARGET", None)
            self.process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _CANARY],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                )
            )
            stack.callback(self.process.kill)
            assert self.process.stdout is not None  # noqa: S101  # it was asked for
            self.process.stdout.readline()
            self._was = self._seen()
            self._stack = stack.pop_all()
        return self

    def _sockets(self, stack: ExitStack) -> dict[str, socket.socket]:
        """Those that nobody should reach, by what they are."""
        addresses: tuple[tuple[str, int, int, Any], ...] = (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            ("unix", socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "socket")),
            ("unix datagrams", socket.AF_UNIX, socket.SOCK_DGRAM, str(self.folder / "datagrams")),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.abstract}"),
            ("abstract datagrams", socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.abstract}-d"),
        )
        found = {}
        for name, family, kind, address in addresses:
            found[name] = stack.enter_context(socket.socket(family, kind))
            found[name].bind(address)
            found[name].setblocking(False)
            if kind == socket.SOCK_STREAM:
                found[name].listen()
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take them away."""
        self._stack.close()

    def description(self, limits: Limits, orphan: str) -> dict[str, Any]:
        """What an attack is told."""
        architecture = here()
        return {
            "process": self.process.pid,
            "secret": self.secret,
            "file": str(self.file),
            "readable": str(self.readable),
            "tcp": self.sockets["tcp"].getsockname(),
            "udp": self.sockets["udp"].getsockname(),
            "datagrams": str(self.folder / "datagrams"),
            "socket": str(self.folder / "socket"),
            "abstract": self.abstract,
            "orphan": orphan,
            "memory_mb": limits.memory_mb,
            "file_mb": limits.file_mb,
            "numbers": architecture.numbers if architecture else {},
        }

    def hurt(self) -> list[str]:
        """What is no longer as it was, and who was reached."""
        now = self._seen()
        found = [what for what, was in self._was.items() if now.get(what) != was]
        if not now["the process lives"]:
            found = [f"the process ended with {self.process.returncode}", *found]
        for name, each in self.sockets.items():
            with suppress(BlockingIOError):
                if each.type == socket.SOCK_STREAM:
                    each.accept()[0].close()
                else:
                    each.recv(1)
                found.append(f"reached {name}")
        return found

    def _seen(self) -> dict[str, Any]:
        pid = self.process.pid
        seen: dict[str, Any] = {
            "the process lives": self.process.poll() is None,
            "the folder": sorted(path.name for path in self.folder.rglob("*")),
        }
        if seen["the process lives"]:
            seen["its limits"] = Path(f"/proc/{pid}/limits").read_text()
            seen["its priority"] = (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid))
            seen["its processors"] = os.sched_getaffinity(pid)
        for path in filter(Path.exists, (self.file, self.readable)):
            about = path.stat()
            seen[f"{path.name} itself"] = path.read_text()
            seen[f"its rights ({path.name})"] = (about.st_mode, about.st_uid, about.st_gid, about.st_nlink)
            seen[f"its time ({path.name})"] = about.st_mtime_ns
            seen[f"its attributes ({path.name})"] = os.listxattr(path)
        return seen


def prove(sandbox: Sandbox, names: Sequence[str] = QUICK) -> Iterator[Attempt]:
    """Try these attacks, each against targets of its own.

    Raises:
        NoSandbox: it runs nothing here.
    """
    for name in names:
        with Targets() as targets:
            yield attempt(sandbox, name, targets)


def attempt(sandbox: Sandbox, name: str, targets: Targets) -> Attempt:
    """Try one attack."""
    limits = replace(_LIMITS, **_OF_ATTACK.get(name, {}))
    orphan = f"co-{uuid4().hex[:12]}"  # the name of a process has 15 characters
    files = {
        **{f"attacks/{path.name}": path.read_bytes() for path in Path(attacks.__file__).parent.glob("*.py")},
        "target.json": json.dumps(targets.description(limits, orphan)).encode(),
    }
    ended = sandbox.run(["python", "-E", "-s", "-S", "-m", "attacks", name], files=files, limits=limits)
    told = _told(ended)
    hurt = targets.hurt()
    if left := _left_behind(orphan):
        hurt.append(f"{left} processes left behind")
    if len(ended.stdout) > limits.output_bytes:
        hurt.append(f"{len(ended.stdout)} bytes kept")
    how = f"stopped: {ended.stopped}" if ended.stopped else f"ended with {ended.code}"
    got = f"{told.get('got', '')} ({how})" + "".join(f"; {each}" for each in hurt)
    if hurt:
        return Attempt(name, open=True, got=got)
    if "started" not in told or ("open" not in told and ended.code not in (None, -signal.SIGKILL, -signal.SIGSYS)):
        return Attempt(name, open=None, got=f"{got} {ended.stderr.decode('utf-8', 'replace')[-300:]}")
    return Attempt(name, open=bool(told.get("open")), got=got)


def _told(ended: Result) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for line in ended.stdout.splitlines():
        with suppress(ValueError):
            told |= json.loads(line)
    return told


def _left_behind(name: str) -> int:
    """How many processes of that name are still there after a while."""
    until = time.monotonic() + _GONE_WITHIN_S
    while (found := _named(name)) and time.monotonic() < until:
        time.sleep(0.02)
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(found)


def _name_and_state(process: Path) -> tuple[str, bool]:
    """Its name, and whether it still runs: a dead one may wait a while for whoever reaps it."""
    before, _, after = (process / "stat").read_text().rpartition(")")
    return before.partition("(")[2], after.split()[0] not in "ZX"


def _named(name: str) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdecimal() and _name_and_state(process) == (name, True):
                found.append(int(process.name))
    return found
