"""``python -m workers.sandbox``: run code for workers, or let attacks loose in the sandbox that runs it.

serve   listens at a socket and runs what processes of its user, or group, ask it to, until it is ended
alive   asks the service whether it answers: status 0, or 1
prove   one line of JSON for the sandbox, ``{"sandbox": name}`` or ``{"error": why there is none}``, then one for each
        attack, ``{"attack": name, "open": bool | null, "got": what it achieved}``. A service proves its own sandbox, and says
        in the first line which networks it reaches and which secrets it knows. The status is 0 where every attack was
        stopped, 1 where one was not or never began, 3 where there is no sandbox, 4 where the service is away.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from workers.sandbox import attacks
from workers.sandbox.bubblewrap import BubblewrapSandbox
from workers.sandbox.choose import find_sandbox
from workers.sandbox.landlock import LandlockSandbox
from workers.sandbox.proof import QUICK, prove
from workers.sandbox.protocol import NoSandbox, Sandbox, SandboxAway
from workers.sandbox.serve import CannotServe, say, serve
from workers.sandbox.service import ServiceSandbox
from workers.sandbox.wire import VARIABLE

KINDS: Final[dict[str, Callable[[], Sandbox]]] = {"bubblewrap": BubblewrapSandbox, "landlock": LandlockSandbox}


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and do what it asks."""
    parser = argparse.ArgumentParser(prog="python -m workers.sandbox")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="run code for workers that ask at a socket")
    asking = commands.add_parser("alive", help="ask the service whether it answers")
    for each in (serving, asking):
        each.add_argument(
            "--socket", type=Path, default=os.environ.get(VARIABLE) or None, help=f"else {VARIABLE} says it"
        )
    serving.add_argument("--for-group", action="store_true", help="for all users of the group of this process")
    proving = commands.add_parser("prove", help="let attacks loose in the sandbox that runs code")
    proving.add_argument("attacks", nargs="*", help="the quick ones without a name", metavar="attack")
    proving.add_argument("--all", action="store_true", help="every attack that there is")
    proving.add_argument("--kind", choices=KINDS, help="that sandbox instead of the one that would be taken")
    asked = parser.parse_args(arguments)
    if asked.command == "prove":
        return _prove(asked.kind, list(attacks.ATTACKS) if asked.all else asked.attacks or list(QUICK))
    if asked.socket is None:
        parser.error(f"say where the socket is: --socket, or {VARIABLE}")
    try:
        if asked.command == "serve":
            serve(Path(asked.socket), group=asked.for_group)
        else:
            ServiceSandbox(Path(asked.socket)).answers()
    except (CannotServe, SandboxAway) as error:
        say(str(error))
        return 1
    return 0


def _prove(kind: str | None, names: list[str]) -> int:
    try:
        sandbox = KINDS[kind]() if kind else find_sandbox()
        stopped = True
        for line in _lines(sandbox, names):
            print(json.dumps(line), flush=True)  # noqa: T201  # a command line prints
            stopped = stopped and line.get("open", False) is False
    except NoSandbox as error:
        away = isinstance(error, SandboxAway)
        print(json.dumps({"error": str(error)} | ({"away": True} if away else {})), flush=True)  # noqa: T201
        return 4 if away else 3
    return 0 if stopped else 1


def _lines(sandbox: Sandbox, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    if isinstance(sandbox, ServiceSandbox):
        yield from sandbox.prove(names)
        return
    yield {"sandbox": sandbox.name}
    for attempt in prove(sandbox, names):
        yield asdict(attempt)


if __name__ == "__main__":
    sys.exit(main())
