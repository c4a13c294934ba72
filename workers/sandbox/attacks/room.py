"""More memory, files and output than a program may have."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .trying import MB, attack, target, tried


@attack
def membomb() -> tuple[bool, Any]:
    """More memory than it may have, in one process."""
    most, kept = 3 * target["memory_mb"], []
    got = 0
    try:
        while got < most:
            kept.append(bytearray(b"x") * (16 * MB))
            got += 16
            time.sleep(0.01)
    except MemoryError:
        kept.clear()
    time.sleep(1 if kept else 0)
    return got >= most, f"{got} MB"


@attack
def membomb_forked() -> tuple[bool, Any]:
    """More memory than it may have, in processes that each stay below the limit of one."""
    return _together(lambda size: bytearray(b"x") * size)


@attack
def membomb_shared() -> tuple[bool, Any]:
    """The same in memory that processes could share, which no limit of a process counts as its own."""

    def mapped(size: int) -> mmap.mmap:
        area = mmap.mmap(-1, size)
        for page in range(0, size, mmap.PAGESIZE):
            area[page] = 1
        return area

    return _together(mapped)


def _together(take: Callable[[int], Any]) -> tuple[bool, Any]:
    each = target["memory_mb"] // 2
    read, write = os.pipe()
    for _ in range(6):
        if os.fork() == 0:
            got, kept = 0, []
            with contextlib.suppress(MemoryError, OSError):
                while got < each:
                    kept.append(take(16 * MB))
                    got += 16
                    time.sleep(0.02)
            os.write(write, b"%d\n" % got)
            time.sleep(60)
    os.close(write)
    total, pipe = 0, os.fdopen(read)
    for _ in range(6):
        total += int(pipe.readline() or 0)
    time.sleep(1)
    return total >= 2 * target["memory_mb"], f"{total} MB together"


@attack
def memfd() -> tuple[bool, Any]:
    """Memory in files without a name."""
    got, kept = 0, []
    try:
        while got < 3 * target["memory_mb"]:
            kept.append(os.memfd_create("x"))
            for _ in range(4):
                os.write(kept[-1], b"x" * 4 * MB)
                got += 4
            time.sleep(0.01)
    except OSError as error:
        return False, f"{got} MB ({errno.errorcode[error.errno or 0]})"
    return True, f"{got} MB"


@attack
def disk() -> tuple[bool, Any]:
    """More files than it may have, wherever a file can be made."""
    found = {}
    for where in dict.fromkeys([str(Path.cwd()), "/tmp", "/var/tmp", "/dev/shm", "/run", "/dev", "/"]):
        found[where] = _filled(Path(where), keep=True)
    return any(size >= 8 * target["file_mb"] for size in found.values()), {k: f"{v} MB" for k, v in found.items()}


@attack
def nameless() -> tuple[bool, Any]:
    """The same with files that have no name any more."""
    got = _filled(Path.cwd(), keep=False)
    return got >= 8 * target["file_mb"], f"{got} MB"


def _filled(where: Path, *, keep: bool) -> int:
    """Megabytes that could be written there and held for a second."""
    got, made, most = 0, [], 8 * target["file_mb"]
    try:
        for turn in range(40):
            path = where / f"fill-{turn}"
            made.append((path, path.open("wb", buffering=0)))
            if not keep:
                path.unlink()
            for _ in range(max(1, target["file_mb"])):
                got += made[-1][1].write(b"x" * MB) // MB
            if got >= most:
                break
            time.sleep(0.02)
    except OSError:
        pass
    if got:
        time.sleep(1 if got >= most else 0)
    for path, file in made:
        file.close()
        path.unlink(missing_ok=True)
    return got


@attack
def inodes() -> tuple[bool, Any]:
    """So many empty files that the kernel runs out of memory for them."""
    made = 0
    try:
        while made < 20_000:
            Path(f"empty-{made}").touch()
            made += 1
    except OSError:
        pass
    time.sleep(1)
    return made >= 20_000, f"{made} files"


@attack
def bigfile() -> tuple[bool, Any]:
    """One file of ten gigabytes that takes no room yet."""

    def grow() -> None:
        with Path("big").open("wb") as file:
            file.truncate(10 << 30)

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    came = tried(grow)
    return came == "done", came


@attack
def flood() -> tuple[bool, Any]:
    """Print without end, on both streams."""
    block = b"x" * MB
    for turn in range(10_000):
        os.write(1 + turn % 2, block)
    return True, "10 GB"
