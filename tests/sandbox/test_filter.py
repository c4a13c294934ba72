"""What the filter of system calls answers, on both architectures: its program is run here as the kernel would."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from workers.sandbox import confine, filters
from workers.sandbox.filters import OWN_PROCESS, bound_to, filter_of
from workers.sandbox.syscalls import ARCHITECTURES

ALLOW, REFUSE, UNKNOWN, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def answered(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """What the program returns for a call (struct seccomp_data)."""
    data = struct.pack("=IIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    lines = list(struct.iter_unpack("=HBBI", program))
    at, value = 0, 0
    while True:
        code, yes, no, constant = lines[at]
        at += 1
        if code == 0x20:
            value = struct.unpack_from("=I", data, constant)[0]
        elif code == 0x54:
            value &= constant
        elif code == 0x06:
            return int(constant)
        else:
            met = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[code]
            at += yes if met else no


@pytest.fixture(params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_denied_is_refused_and_what_code_needs_is_not(name: str) -> None:
    here = ARCHITECTURES[name]
    program = filter_of(here, on_the_host=True, landlock=6)
    for call in (*filters.DENIED, *filters.DENIED_ON_THE_HOST):
        if call in here.numbers:
            assert answered(program, here.audit, here.numbers[call]) == REFUSE, call
    needed = {"x86_64": (0, 1, 3, 9, 12, 57, 59, 60, 231, 257), "aarch64": (56, 57, 63, 64, 93, 94, 214, 221, 222)}
    assert {answered(program, here.audit, number) for number in needed[name]} == {ALLOW}


def test_calls_of_another_table_end_the_process(name: str) -> None:
    here = ARCHITECTURES[name]
    program = filter_of(here, on_the_host=False)
    for other in {each.audit for each in ARCHITECTURES.values()} - {here.audit} | {0x40000003}:
        assert answered(program, other, 1) == KILL
    assert answered(program, here.audit, 0x40000000 + 39) == (KILL if here.x32 else ALLOW)


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("clone", (0x11,), ALLOW),
        ("clone", (0x10000000 | 0x11,), REFUSE),
        ("clone", (0x8000 | 0x11,), REFUSE),
        ("clone3", (), UNKNOWN),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 0x80801), ALLOW),
        ("socketpair", (1, 2), REFUSE),
        ("socketpair", (1, 0x80805), REFUSE),
        ("ioctl", (0, 0x5412), REFUSE),
        ("ioctl", (0, 0x541C), REFUSE),
        ("ioctl", (0, 0x5401), ALLOW),
        ("prctl", (36,), REFUSE),
        ("prctl", (15,), ALLOW),
        ("fcntl", (3, 8), REFUSE),
        ("fcntl", (3, 10), REFUSE),
        ("fcntl", (3, 2), ALLOW),
        ("prlimit64", (0,), ALLOW),
        ("prlimit64", (77,), ALLOW),
        ("prlimit64", (78,), REFUSE),
        ("kill", (77,), ALLOW),
        ("kill", (0,), ALLOW),
        ("kill", (78,), REFUSE),
        ("kill", (2**64 - 1,), REFUSE),
        ("kill", (2**64 - 77,), REFUSE),
        ("tgkill", (77,), ALLOW),
        ("tgkill", (0,), REFUSE),
        ("openat", (0, 0, 0), ALLOW),
        ("openat", (0, 0, 0x241), ALLOW),
        ("openat", (0, 0, 0x200), REFUSE),
        ("openat", (0, 0, 0x203), REFUSE),
        ("truncate", (), REFUSE),
        ("openat2", (), UNKNOWN),
    ],
)
def test_calls_are_told_apart_by_what_they_are_given(
    name: str, call: str, arguments: tuple[int, ...], answer: int
) -> None:
    here = ARCHITECTURES[name]
    program = bound_to(filter_of(here, on_the_host=True, landlock=1), 77)
    assert answered(program, here.audit, here.numbers[call], *arguments) == answer


def test_what_binds_a_process_knows_the_mark_that_it_replaces() -> None:
    assert struct.pack("=I", OWN_PROCESS) == confine._OWN_PROCESS


def test_the_numbers_are_those_of_the_kernel(name: str) -> None:
    if not HEADERS[name].exists():
        pytest.skip("the kernel's headers are not installed")
    listed = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[name].read_text()))
    known = {call: number for call, number in ARCHITECTURES[name].numbers.items() if call in listed}
    assert len(known) > 90
    assert known == {call: int(listed[call]) for call in known}
