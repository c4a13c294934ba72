"""The process that hashes: ``python -m app.accounts.argon``, which ``app.accounts.hasher`` starts and asks.

A hash takes 64 MiB and all of a processor. Here it never holds the interpreter's lock of the pages; the system serves it
after everything else, on half of the cores. One question a line, one answer a line, both JSON. The process ends with its
input, so it outlives nobody, however the server ended. It imports little, because somebody waits for its start.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

NICE = 19


def answer(hasher: PasswordHasher, question: dict[str, str]) -> str | bool:
    """The hash of ``password``, or, beside ``stored``, whether it is the one behind that."""
    if "stored" not in question:
        return hasher.hash(question["password"])
    try:
        return hasher.verify(question["stored"], question["password"])
    except (VerificationError, InvalidHashError):
        return False


def step_back() -> None:
    """Be served last; where the system allows it, on the later half of the cores."""
    os.nice(NICE)
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[len(cores) // 2 :])


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, whose end is the end of the input
    step_back()
    hasher = PasswordHasher()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(answer(hasher, json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
