"""How an attempt is made and what came of it."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Any

target: dict[str, Any] = {}
libc = ctypes.CDLL(None, use_errno=True)
MB = 1 << 20
ATTACKS: dict[str, Callable[[], tuple[bool, Any]]] = {}
"""By name, in the order in which they are tried."""


def attack(function: Callable[[], tuple[bool, Any]]) -> Callable[[], tuple[bool, Any]]:
    """Make it known by its name."""
    ATTACKS[function.__name__] = function
    return function


def tried(act: Callable[[], Any]) -> str:
    """What came of it: "done", or the name of the error."""
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (MemoryError, RuntimeError) as error:
        return type(error).__name__
    return "done"


def called(name: str, *arguments: Any) -> str:
    """What came of a system call."""
    number = target["numbers"].get(name)
    if number is None:
        return "no such call"
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *arguments) >= 0:
        return "done"
    return errno.errorcode.get(ctypes.get_errno(), "?")


def in_child(act: Callable[[], str]) -> str:
    """What came of it in a process of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, act().encode())
        os._exit(0)
    os.close(write)
    os.wait()
    with os.fdopen(read) as pipe:
        return pipe.read()
