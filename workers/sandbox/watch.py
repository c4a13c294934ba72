"""What a started program takes at this moment, with everything that it started."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MOST_FILES: Final = 4096
"""Files and folders that one program may make: each takes memory of the kernel, which no limit counts."""


def tree(root: int) -> list[int]:
    """The numbers of a process, its children and theirs. Processes of others never come into it."""
    found, rest = [], [root]
    while rest:
        process = rest.pop()
        found.append(process)
        try:
            for thread in Path(f"/proc/{process}/task").iterdir():
                rest += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it is gone
    return found


def weight(processes: Iterable[int]) -> tuple[int, int]:
    """Bytes of memory that these hold together (their own and shared, without files), and their threads.

    What children share with their parent until they write to it counts for each.
    """
    memory = threads = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssShmem", "VmSwap"):
                memory += int(value.split()[0]) * 1024
            elif name == "Threads":
                threads += int(value)
    return memory, threads


def used_in(folder: Path, processes: Iterable[int]) -> tuple[int, int]:
    """Bytes and number of the files in a folder, and of those that have no name any more but are still open."""
    size = count = 0
    rest = [os.fspath(folder)]
    while rest and count <= MOST_FILES:
        try:
            with os.scandir(rest.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        rest.append(entry.path)
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if count > MOST_FILES:
                        break
        except OSError:
            continue
    return size + sum(_nameless(process) for process in processes), count


def _nameless(process: int) -> int:
    size = 0
    try:
        for end in Path(f"/proc/{process}/fd").iterdir():
            about = end.stat()
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
                size += about.st_blocks * 512
    except OSError:
        pass
    return size


def used_on(mount: str, processes: Iterable[int]) -> tuple[int, int]:
    """Bytes and number of the files of a file system that only these processes see, at that path of theirs."""
    for process in reversed(list(processes)):
        try:
            about = os.statvfs(f"/proc/{process}/root{mount}")
        except OSError:
            continue
        return (about.f_blocks - about.f_bfree) * about.f_frsize, about.f_files - about.f_ffree
    return 0, 0
