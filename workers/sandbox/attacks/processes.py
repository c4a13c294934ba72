"""Too many processes, processes that never end, and processes of others."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import threading
import time
from typing import Any

from .trying import attack, called, in_child, libc, target, tried


@attack
def forkbomb() -> tuple[bool, Any]:
    """As many processes as it can."""
    children = 0
    try:
        while children < 400:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            children += 1
    except OSError:
        pass
    time.sleep(1)
    return children >= 400, f"{children} processes"


@attack
def threads() -> tuple[bool, Any]:
    """As many threads as it can."""
    threading.stack_size(1 << 16)
    started = 0
    try:
        while started < 600:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            started += 1
    except RuntimeError:
        pass
    time.sleep(1)
    return started >= 600, f"{started} threads"


@attack
def orphan() -> tuple[bool, Any]:
    """Leave a process behind; whoever tries this looks whether it lives."""
    if os.fork() == 0:
        for leave in (os.setsid, lambda: os.setpgid(0, 0)):
            tried(leave)
        if os.fork() == 0:
            for end in range(64):
                with contextlib.suppress(OSError):
                    os.close(end)
            libc.prctl(15, target["orphan"].encode(), 0, 0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    return False, "started"


@attack
def loop() -> tuple[bool, Any]:
    """Compute without end, deaf to polite signals."""
    for each in (signal.SIGTERM, signal.SIGXCPU, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    until = time.monotonic() + 20
    while time.monotonic() < until:
        pass
    return True, "20 s"


@attack
def sleep() -> tuple[bool, Any]:
    """Wait without end, deaf to polite signals."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(20)
    return True, "20 s"


@attack
def kill() -> tuple[bool, Any]:
    """Signal a process of the host, which dies of this signal and nothing else does: in every way that there is."""
    pid, number = target["process"], signal.SIGURG
    read, write = os.pipe()

    def by_file() -> None:
        fcntl.fcntl(read, 10, number)  # F_SETSIG
        fcntl.fcntl(read, fcntl.F_SETOWN, pid)
        fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC)
        os.write(write, b"x")

    found = {
        "process": tried(lambda: os.kill(pid, number)),
        "group": tried(lambda: os.kill(-pid, number)),
        "thread": called("tkill", pid, number),
        "thread of a process": called("tgkill", pid, pid, number),
        "queue": called("rt_sigqueueinfo", pid, number, ctypes.create_string_buffer(128)),
    }
    # What these reached is seen from outside: they may reach this process itself.
    by_number = {"everybody": in_child(lambda: tried(lambda: os.kill(-1, number))), "file": tried(by_file)}
    return "done" in found.values(), {**found, **by_number}


@attack
def ptrace() -> tuple[bool, Any]:
    """Attach to a process of the host, read its memory, take its files."""
    pid = target["process"]
    found = {"attach": "EPERM"}
    if libc.ptrace(16, pid, 0, 0) == 0:
        found["attach"] = "done"
        os.waitpid(pid, 0x40000000)
        libc.ptrace(17, pid, 0, 0)
    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    found["read"] = called("process_vm_readv", pid, vector, 1, vector, 1, 0)
    found["pidfd"] = called("pidfd_open", pid, 0)
    return "done" in found.values(), found


@attack
def others() -> tuple[bool, Any]:
    """Change how a process of the host is limited and scheduled."""
    pid = target["process"]
    found = {
        "prlimit": tried(lambda: resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))),
        "priority": tried(lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)),
        "scheduler": tried(lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))),
        "affinity": tried(lambda: os.sched_setaffinity(pid, {0})),
    }
    return "done" in found.values(), found
