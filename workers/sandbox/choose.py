"""Which sandbox is here: the first that can be made to run a program."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.protocol import NoSandbox, Sandbox

_KINDS: Final[tuple[Callable[[], Sandbox], ...]] = (BubblewrapSandbox, LandlockSandbox)


@cache
def find_sandbox() -> Sandbox:
    """The sandbox of this machine, tried once: it ran a program.

    Raises:
        NoSandbox: there is none; the message says why of each and what to install.
    """
    why = []
    for kind in _KINDS:
        try:
            sandbox = kind()
            ended = sandbox.run(["bash", "-c", "echo alive"])
        except NoSandbox as error:
            why.append(str(error))
            continue
        if ended.stdout == b"alive\n":
            return sandbox
        why.append(f"{sandbox.name} runs no program: {ended.stderr.decode('utf-8', 'replace').strip()[:200]}")
    raise NoSandbox("No code can be run here. " + " ".join(why))
