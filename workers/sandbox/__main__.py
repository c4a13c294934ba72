"""``python -m workers.sandbox prove``: let attacks loose in the sandbox of this machine.

One line of JSON for the sandbox, ``{"sandbox": name}`` or ``{"error": why there is none}``, then one for each attack,
``{"attack": name, "open": bool | null, "got": what it achieved}``. The status is 0 where every attack was stopped, 1 where
one was not or never began, 3 where there is no sandbox.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from workers.sandbox import attacks
from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.choose import find_sandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.proof import QUICK, prove
from workers.sandbox.protocol import NoSandbox

_KINDS = {"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(prog="python -m workers.sandbox")
    commands = parser.add_subparsers(dest="command", required=True)
    proving = commands.add_parser("prove", help="let attacks loose in the sandbox of this machine")
    proving.add_argument("attacks", nargs="*", help="the quick ones without a name", metavar="attack")
    proving.add_argument("--all", action="store_true", help="every attack that there is")
    proving.add_argument("--kind", choices=_KINDS, help="that sandbox instead of the one that would be taken")
    asked = parser.parse_args(arguments)
    return _prove(asked.kind, list(attacks.ATTACKS) if asked.all else asked.attacks or list(QUICK))


def _prove(kind: str | None, names: list[str]) -> int:
    try:
        sandbox = _KINDS[kind]() if kind else find_sandbox()
        _tell({"sandbox": sandbox.name})
        stopped = True
        for attempt in prove(sandbox, names):
            _tell(asdict(attempt))
            stopped = stopped and attempt.open is False
    except NoSandbox as error:
        _tell({"error": str(error)})
        return 3
    return 0 if stopped else 1


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201  # a command line prints


if __name__ == "__main__":
    sys.exit(main())
