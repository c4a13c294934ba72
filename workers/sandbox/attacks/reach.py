"""What is not the program's: files, secrets, the network, the kernel, the terminal."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
from functools import partial
from pathlib import Path
from typing import Any

from .trying import attack, called, in_child, libc, target, tried


@attack
def secrets() -> tuple[bool, Any]:
    """Read what is nobody's business: files, folders, environments."""
    paths = [
        *("/etc/shadow", "/etc/passwd", "/proc/1/environ", f"/proc/{target['process']}/environ", target["file"]),
        *(f"/proc/{os.getppid()}/environ", f"/proc/{os.getppid()}/cmdline", "/root", "/home", "/var", "/srv"),
        str(Path(target["file"]).parent),
    ]
    found, bad = {}, []
    for each in paths:
        path, seen = Path(each), b""
        try:
            seen = " ".join(os.listdir(path)).encode() if path.is_dir() else path.read_bytes()
            found[each] = f"read {len(seen)}"
        except OSError as error:
            found[each] = errno.errorcode.get(error.errno or 0, str(error))
        # The sandbox's own first process is the code's to see: it holds nothing.
        if target["secret"].encode() in seen or (seen and not each.startswith("/proc/")):
            bad.append(each)
    if target["secret"] in str(os.environ):
        bad.append("environment")
    for end in range(3, 64):
        with contextlib.suppress(OSError):
            os.fstat(end)
            bad.append(f"descriptor {end}")
            found[f"descriptor {end}"] = os.readlink(f"/proc/self/fd/{end}")
    return bool(bad), {**found, "bad": bad}


@attack
def rights() -> tuple[bool, Any]:
    """Change a file of the host that it may not write to: its rights, owner, times, attributes, length."""
    path = target["file"]
    found = {
        "chmod": tried(lambda: os.chmod(path, 0o777)),
        "chown": tried(lambda: os.chown(path, os.getuid(), os.getgid())),
        "utime": tried(lambda: os.utime(path, (1, 1))),
        "xattr": tried(lambda: os.setxattr(path, "user.corral", b"x")),
        "truncate": tried(lambda: os.truncate(path, 0)),
        "empty": tried(lambda: os.close(os.open(target["readable"], os.O_RDONLY | os.O_TRUNC))),
        "empty, no access": tried(lambda: os.close(os.open(target["readable"], 3 | os.O_TRUNC))),
        "unlink": tried(lambda: os.unlink(path)),
        "rename": tried(lambda: os.rename(path, "taken")),
    }
    return "done" in found.values(), found


@attack
def symlink() -> tuple[bool, Any]:
    """Plant links for whoever reads results or cleans up afterwards."""
    path = target["file"]
    links = (("answer.txt", path), ("folder", str(Path(path).parent)), ("etc", "/etc"))
    found = {f"link {name}": tried(partial(os.symlink, to, name)) for name, to in links}
    reached = {
        "read through": tried(lambda: Path("answer.txt").read_bytes()),
        "write through": tried(lambda: Path("folder/planted").write_bytes(b"x")),
        "hard link": tried(lambda: os.link(path, "hard")),
    }
    return "done" in reached.values(), {**found, **reached}


@attack
def net() -> tuple[bool, Any]:
    """Reach the network, this machine's services, and sockets of other processes."""

    def connect(family: int, kind: int, address: Any) -> None:
        with socket.socket(family, kind) as link:
            link.settimeout(2)
            link.connect(address)
            link.send(b"x")

    def post(address: str) -> None:
        """A pair needs no socket of its own to be made, and may write to others by their names."""
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        pair[0].sendto(b"x", address)

    found = {
        "datagram": tried(lambda: post(target["datagrams"])),
        "abstract datagram": tried(lambda: post("\0" + target["abstract"] + "-d")),
        "tcp": tried(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, tuple(target["tcp"]))),
        "udp": tried(lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, tuple(target["udp"]))),
        "outside": tried(lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53))),
        "raw": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()),
        "unix": tried(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, target["socket"])),
        "abstract": tried(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + target["abstract"])),
        "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()),
        "ring": called("io_uring_setup", 4, ctypes.create_string_buffer(256)),
    }
    return "done" in found.values(), found


@attack
def escape() -> tuple[bool, Any]:
    """Ways out by privilege: namespaces, mounts, devices, interfaces of the kernel."""
    buffer = ctypes.create_string_buffer(256)
    found = {
        "user namespace": in_child(lambda: called("unshare", 0x10000000)),
        "clone": in_child(lambda: called("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)),
        "mount": called("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
        "chroot": called("chroot", b"/"),
        "bpf": called("bpf", 0, buffer, 256),
        "perf": called("perf_event_open", buffer, 0, -1, -1, 0),
        "keys": called("keyctl", 0, -3, 0, 0, 0),
        "faults": called("userfaultfd", 0),
        "personality": called("personality", 0x0040000),
        "handles": called("open_by_handle_at", -100, buffer, 0),
        "x32": "done" if os.uname().machine == "x86_64" and os.waitstatus_to_exitcode(_x32()) == 0 else "no",
    }
    for path in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kvm", "/dev/mem", "/dev/fuse"):
        found[path] = tried(partial(_opened, path, os.O_RDONLY))
    for path in (
        *("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/fs/cgroup/pids/cgroup.procs", "/etc/passwd"),
        *("/usr/bin/planted", "/sys/kernel/uevent_helper", "/dev/planted"),
    ):
        flags = os.O_WRONLY | (os.O_CREAT if "planted" in path else 0)
        found[f"write {path}"] = tried(partial(_opened, path, flags))
    return "done" in found.values(), found


def _opened(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o600))


def _x32() -> int:
    """The end of a child that makes a call of the table which no filter of the other one sees."""
    child = os.fork()
    if child == 0:
        os._exit(0 if libc.syscall(ctypes.c_long(0x40000000 + 39)) > 0 else 1)  # getpid
    return os.waitpid(child, 0)[1]


@attack
def tty() -> tuple[bool, Any]:
    """Type into the terminal of whoever started it."""

    def type_into(path: str) -> None:
        end = os.open(path, os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(end, 0x5412, b"x")

    found = {path: tried(partial(type_into, path)) for path in ("/dev/tty", "/dev/console", "/dev/pts/0")}
    found["stdin"] = tried(lambda: fcntl.ioctl(0, 0x5412, b"x"))
    return "done" in found.values(), found
