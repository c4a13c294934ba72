"""``loose.py KIND ATTACK…``: let attacks loose in a sandbox and print what came of each, a line of JSON.

A program, because it is run as another user by whatever Python that user may run. KIND is "bubblewrap", "landlock",
"landlock-VERSION", or "nothing": no sandbox at all, to see that an attack comes through where nothing stops it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from workers.sandbox import landlock
from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.proof import Attempt, Targets, attempt
from workers.sandbox.protocol import NO_FILES, USUAL, Limits, NoSandbox, Result, Sandbox

ALONE = ("forkbomb", "threads")
"""They take what their user has left of processes."""


class Nothing:
    """Runs the program as it is."""

    name = "nothing"

    def run(
        self, argv: Sequence[str], *, files: Mapping[str, bytes] = NO_FILES, stdin: bytes = b"", limits: Limits = USUAL
    ) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).parent.mkdir(exist_ok=True)
                (Path(folder) / name).write_bytes(content)
            done = subprocess.run(
                [sys.executable, *argv[1:]], cwd=folder, capture_output=True, timeout=limits.wall_s, check=False
            )
        return Result(done.returncode, done.stdout, done.stderr, "")


def sandbox(kind: str) -> Sandbox:
    name, _, version = kind.partition("-")
    if name == "nothing":
        return Nothing()  # type: ignore[return-value]  # nothing is started in it
    return BubblewrapSandbox() if name == "bubblewrap" else LandlockSandbox(int(version) if version else None)


def main(kind: str, names: list[str]) -> None:
    try:
        found = sandbox(kind)
        if kind != "nothing":
            found.run(["bash", "-c", "true"])
    except NoSandbox as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        return

    def one(name: str) -> Attempt:
        first = once(name)
        if kind == "nothing" or not first.open:
            return first
        # A busy machine kills processes of its own accord, and a target may be one of them: a way out stays one.
        again = once(name)
        return replace(again, got=f"{first.got}, then {again.got}")

    def once(name: str) -> Attempt:
        with Targets() as targets:
            # What may be read is where something could be changed that must not be.
            vars(landlock)["SYSTEM"] += (str(targets.readable.parent),)
            return attempt(found, name, targets)

    with ThreadPoolExecutor(4) as pool:
        attempts = [one(name) for name in names if name in ALONE]
        attempts += pool.map(one, [name for name in names if name not in ALONE])
    for each in attempts:
        sys.stdout.write(json.dumps(asdict(each)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
