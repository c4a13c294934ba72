"""The filter of system calls (seccomp) under which code runs, as classic BPF.

Everything else keeps the code in as well (namespaces or Landlock); the filter shuts what they leave open and what has been
a way out before: other processes, kernel interfaces, memory that no limit counts, sockets. Sources: seccomp(2), Docker's
default profile, landlock(7) "Limitations".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from workers.sandbox.syscalls import Architecture

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE, _UNKNOWN, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000  # EPERM, ENOSYS
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

OWN_PROCESS: Final = 0x7FFFFFFD
"""Stands in a filter for the process that it will bind, whose number is not known before it exists."""

DENIED: Final = (
    # Other processes.
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "kcmp",
    # mounts and namespaces
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "mount_setattr",
    "name_to_handle_at",
    "open_by_handle_at",
    # the kernel and the machine
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "personality",
    "quotactl",
    "quotactl_fd",
    "acct",
    "swapon",
    "swapoff",
    "reboot",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "syslog",
    "iopl",
    "ioperm",
    "vhangup",
    "sethostname",
    "setdomainname",
    "lookup_dcookie",
    "fanotify_init",
    "modify_ldt",
    "uselib",
    "ustat",
    "sysfs",
    "nfsservctl",
    "mknod",
    "mknodat",
    "add_key",
    "request_key",
    # ways around this filter, and out of the network that it shuts
    "keyctl",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "socket",
    # memory that neither a limit of a process nor the size of a file system counts
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "semget",
    "msgget",
    "mq_open",
    "vmsplice",
    "move_pages",
    "migrate_pages",
    "mbind",
    "set_mempolicy",
    "get_mempolicy",
    # how others are scheduled
    "setpriority",
    "sched_setparam",
    "sched_setscheduler",
    "sched_setattr",
    "ioprio_set",
)

DENIED_ON_THE_HOST: Final = (
    # A process group is what ends everything that was started
    "setsid",
    "setpgid",
    # It tells of the files of others.
    "inotify_add_watch",
    # Landlock leaves owner, rights, times and attributes of files to anybody who owns them
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "removexattrat",
    "file_setattr",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
)
"""What is refused as well where the code sees the processes and files of the host: without namespaces."""

_NEW_NAMESPACES_OR_SIBLING = 0x7E020080 | 0x8000  # CLONE_NEW*, NEWTIME, and CLONE_PARENT: a child that nobody reaps
_O_TRUNC = 0x200
_STREAM = 1  # a pair of SOCK_DGRAM may write to any socket of the host that has a name
_OWNER_OF_SIGNALS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: a signal by way of a file
_KEYSTROKES = (0x5412, 0x541C, 0x8901, 0x8902)  # TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
_TIES_TO_THE_PARENT = (1, 36)  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER


def filter_of(architecture: Architecture, *, on_the_host: bool, landlock: int = 0) -> bytes:
    """The filter as ``struct sock_filter[]``.

    Args:
        architecture: For which the calls are numbered; any other's are answered by killing the process.
        on_the_host: Without namespaces, the code sees the host's processes and files: more is refused.
        landlock: The version of Landlock that holds it there; what an older one leaves open is shut here. A filter for
            one below 6 holds ``OWN_PROCESS``, which must be replaced by ``bound_to``.
    """
    program = _Program(architecture)
    program.refuse(DENIED)
    program.refuse_with_bits("clone", 0, _NEW_NAMESPACES_OR_SIBLING)
    program.refuse_values("ioctl", 1, _KEYSTROKES)
    program.refuse_unless("socketpair", 1, (_STREAM,), mask=0xF)
    program.answer("clone3", _UNKNOWN)  # its flags are behind a pointer: libraries fall back to clone
    if on_the_host:
        program.refuse(DENIED_ON_THE_HOST)
        program.refuse_values("prctl", 0, _TIES_TO_THE_PARENT)
        program.refuse_values("fcntl", 1, _OWNER_OF_SIGNALS)
        for name in ("prlimit64", "sched_setaffinity"):
            program.refuse_unless(name, 0, (0, OWN_PROCESS))
        if landlock < 3:
            _keep_from_truncating(program)
        if landlock < 6:
            _keep_from_signalling(program)
    return program.assembled()


def bound_to(filtered: bytes, process: int) -> bytes:
    """The filter for that process."""
    return filtered.replace(struct.pack("=I", OWN_PROCESS), struct.pack("=I", process))


def _keep_from_truncating(program: _Program) -> None:
    """Before its third version, Landlock let a file be emptied that may only be read."""
    program.refuse(["truncate"])
    program.answer("openat2", _UNKNOWN)  # its flags are behind a pointer
    program.refuse_emptying_reader("open", 1)
    program.refuse_emptying_reader("openat", 2)


def _keep_from_signalling(program: _Program) -> None:
    """Before its sixth version, Landlock let any process of the same user be signalled."""
    program.refuse(["tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"])
    program.refuse_unless("kill", 0, (0, OWN_PROCESS))  # 0 is its own group, which it cannot leave
    program.refuse_unless("tgkill", 0, (OWN_PROCESS,))


class _Program:
    """A filter as it grows: after each rule the number of the call is loaded again."""

    def __init__(self, architecture: Architecture) -> None:
        self._numbers = architecture.numbers
        self._code: list[tuple[int, int, int, int]] = []
        self._put(_LOAD, _ARCHITECTURE)
        self._put(_EQUAL, architecture.audit, 1, 0)
        self._put(_RETURN, _KILL)
        self._put(_LOAD, _NUMBER)
        if architecture.x32:
            self._put(_AT_LEAST, 0x40000000, 0, 1)
            self._put(_RETURN, _KILL)

    def refuse(self, names: Iterable[str]) -> None:
        for name in names:
            self.answer(name, _REFUSE)

    def answer(self, name: str, verdict: int) -> None:
        self._rule(name, [(_RETURN, 0, 0, verdict)], reload=False)

    def refuse_with_bits(self, name: str, argument: int, bits: int) -> None:
        self._rule(name, [_of(argument), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _REFUSE)])

    def refuse_values(self, name: str, argument: int, values: tuple[int, ...]) -> None:
        tests = [
            (_EQUAL, len(values) - at - 1, 0 if at < len(values) - 1 else 1, value) for at, value in enumerate(values)
        ]
        self._rule(name, [_of(argument), *tests, (_RETURN, 0, 0, _REFUSE)])

    def refuse_unless(self, name: str, argument: int, values: tuple[int, ...], mask: int = 0xFFFFFFFF) -> None:
        tests = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
        self._rule(name, [_of(argument), (_AND, 0, 0, mask), *tests, (_RETURN, 0, 0, _REFUSE)])

    def refuse_emptying_reader(self, name: str, argument: int) -> None:
        """Open to read or for no access at all (3), and empty: what Landlock takes for reading."""
        tests = [(_AND, 0, 0, _O_TRUNC | 3), (_EQUAL, 1, 0, _O_TRUNC), (_EQUAL, 0, 1, _O_TRUNC | 3)]
        self._rule(name, [_of(argument), *tests, (_RETURN, 0, 0, _REFUSE)])

    def assembled(self) -> bytes:
        return b"".join(struct.pack("HBBI", *line) for line in [*self._code, (_RETURN, 0, 0, _ALLOW)])

    def _rule(self, name: str, body: list[tuple[int, int, int, int]], *, reload: bool = True) -> None:
        if (number := self._numbers.get(name)) is None:
            return
        if reload:
            body = [*body, (_LOAD, 0, 0, _NUMBER)]
        self._put(_EQUAL, number, 0, len(body))
        self._code += body

    def _put(self, code: int, value: int, yes: int = 0, no: int = 0) -> None:
        self._code.append((code, yes, no, value))


def _of(argument: int) -> tuple[int, int, int, int]:
    """The lower half of an argument: both architectures are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
