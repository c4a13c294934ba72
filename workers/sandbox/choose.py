"""Which sandbox runs code: the service where one is named, else the first of this machine that can be made to run a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.process import LocalSandbox
from workers.sandbox.protocol import NoSandbox, Sandbox
from workers.sandbox.service import ServiceSandbox
from workers.sandbox.wire import VARIABLE

_KINDS: Final[tuple[Callable[[], LocalSandbox], ...]] = (BubblewrapSandbox, LandlockSandbox)


def find_sandbox() -> Sandbox:
    """The sandbox that code is to run in.

    Where a service is named and away, nothing runs: its callers know secrets, which is why it was named.

    Raises:
        NoSandbox: there is none; the message says why of each and what to install.
    """
    path = os.environ.get(VARIABLE, "")
    return ServiceSandbox(Path(path)) if path else find_local()


@cache
def find_local() -> LocalSandbox:
    """The sandbox of this machine, tried once: it ran a program.

    Raises:
        NoSandbox: there is none; the message says why of each and what to install.
    """
    if sys.platform != "linux":
        raise NoSandbox("Code is only run on Linux: elsewhere there is neither bubblewrap nor Landlock.")
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
