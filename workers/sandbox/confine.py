"""Bind this process by limits, Landlock and a filter of system calls, then become another program.

A program of its own that needs the standard library alone: ``python -I -S confine.py STATUS WORK USERS LANDLOCK FILTER
LIMITS READABLE -- PROGRAM ARGUMENT…``. It needs no privilege, no namespace and no package, and so it works in a container
without capabilities, with a read-only root and no new privileges.

STATUS is a descriptor: nothing is written to it where the program started, else one line that says why it did not.
Sources: landlock(7), seccomp(2), prctl(2), getrlimit(2).
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_SIGKILL = 9  # the module of signals takes a third of the time that all of this takes
_PDEATHSIG, _SECCOMP, _SUBREAPER, _NO_NEW_PRIVS = 1, 22, 36, 38
_OWN_PROCESS = struct.pack("=I", 0x7FFFFFFD)  # workers.sandbox.filters.OWN_PROCESS

_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _IOCTL_DEVICE = 1 << 6, 1 << 9, 1 << 10, 1 << 11, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _IOCTL_DEVICE
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_version() -> int:
    """The version of the kernel's Landlock, 0 where it has none."""
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def _become(users: str) -> None:
    """Give up root for the first of these users that the system lets this process be."""
    if os.geteuid() != 0:
        return
    for user in map(int, users.split(",")):
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        except OSError:
            continue
        return
    raise OSError("it runs as root and may not become another user")


def _restrict(work: str, readable: list[str], version: int) -> None:
    """Everything of the file system, the network and the signals that this version of Landlock knows is shut, but that."""
    known = 13 + (version >= 2) + (version >= 3)  # 2: moving between folders, 3: truncating
    handled = (1 << known) - 1 | (_IOCTL_DEVICE if version >= 5 else 0)
    attributes = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _checked(_libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0), "landlock")

    def allow(path: str, access: int) -> None:
        try:
            at = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        is_folder = os.path.isdir(path)  # noqa: PTH112  # pathlib takes longer to load than all of this takes
        access &= handled if is_folder else handled & _OF_FILES
        _checked(_libc.syscall(_ADD, rules, 1, struct.pack("=Qi", access, at), 0), f"landlock, {path}")
        os.close(at)

    for path in readable:
        allow(path, _READ | _LIST | _EXECUTE)
    for path in _DEVICES:
        allow(path, _READ | _WRITE)
    allow(work, handled & ~(_MAKE_CHAR | _MAKE_SOCK | _MAKE_FIFO | _MAKE_BLOCK | _IOCTL_DEVICE))
    _checked(_libc.syscall(_RESTRICT, rules, 0), "landlock")
    os.close(rules)


def _limit(limits: str) -> None:
    """Lower the limits, as ``NUMBER=VALUE,…``; one that the system keeps lower stays."""
    for pair in limits.split(","):
        which, _, value = pair.partition("=")
        most = resource.getrlimit(int(which))[1]
        least = int(value) if most == resource.RLIM_INFINITY else min(int(value), most)
        resource.setrlimit(int(which), (least, least))


def _filter(program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))

    lines = ctypes.create_string_buffer(program, len(program))
    bound = Program(len(program) // 8, ctypes.addressof(lines))
    _checked(_libc.prctl(_SECCOMP, 2, ctypes.byref(bound), 0, 0), "seccomp")


def main(arguments: list[str]) -> None:
    """Bind this process and become the program."""
    status, work, users, version, filtered, limits, readable, _dashes, *program = arguments
    try:
        os.set_inheritable(int(status), False)
        parent = os.getppid()
        os.umask(0o077)
        _become(users)
        _checked(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _checked(_libc.prctl(_PDEATHSIG, _SIGKILL, 0, 0, 0), "pdeathsig")
        if os.getppid() != parent:
            os._exit(126)  # nobody is left to tell
        _checked(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "subreaper")
        os.chdir(work)
        _limit(limits)
        _restrict(work, readable.split(":"), int(version))
        _filter(bytes.fromhex(filtered).replace(_OWN_PROCESS, struct.pack("=I", os.getpid())))
        os.execv(program[0], program)  # noqa: S606  # no shell is wanted
    except BaseException as error:  # noqa: BLE001  # whatever it is, the program must not run unbound
        os.write(int(status), str(error).encode("utf-8", "replace")[:1000] + b"\n")
        os._exit(126)


if __name__ == "__main__":
    main(sys.argv[1:])
