"""Stands in for a stage that is no training: ``python -m tests.rounds.fake_stage NAME MADE [NEEDED]``.

It writes three lines to MADE, one at a time and behind those that are there, and MADE.done when it has all; with NEEDED it
repeats that file's lines. ``FAKE_STAGE`` says how it behaves: empty, or ``hang NAME`` (before the last line), ``exit NAME``
(with status 4), ``crash NAME``, ``nothing NAME`` (it ends well and writes nothing).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

LINES = 3


def main(name: str, made: Path, needed: Path | None) -> int:
    fault, _, whose = os.environ.get("FAKE_STAGE", "").partition(" ")
    fault = fault if whose == name else ""
    there = len(made.read_text().splitlines()) if made.exists() else 0
    sys.stdout.write(f"{name} begins behind line {there}\n")
    sys.stdout.flush()
    if fault == "crash":
        raise RuntimeError(f"{name} has no idea")
    if fault == "exit":
        sys.stderr.write(f"no room left for {made.name}\n")
        return 4
    if fault == "nothing":
        return 0
    source = needed.read_text().splitlines() if needed else [f"line {number}" for number in range(LINES)]
    for number in range(there, LINES):
        while fault == "hang" and number == LINES - 1:
            time.sleep(0.05)
        with made.open("a") as file:
            file.write(f"{source[number]}, {name}\n")
    made.with_name(f"{made.name}.done").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None))
