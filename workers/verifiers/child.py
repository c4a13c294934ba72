"""The process in which checks run: it may hang, fill its memory or die, and no more than one check is lost.

``Checker`` starts it and speaks to it in lines of JSON. For each request ``{"case": …, "verifiers": [names] | null}`` it
answers, in this order::

    {"verifiers": [names]}                         what it will run
    {"begins": name, "version": …, "limit_s": …}   loaded, and starting now: the time counts from here
    {"finding": {…}}                               … and so on for each name
    {"error": "…"}                                 instead of all that, where the request itself is wrong
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from typing import Any, Final, TextIO

from workers.verifiers import registry
from workers.verifiers.protocol import LIMIT_S, Finding, case_of, checked

MEMORY: Final = 4 << 30
"""Bytes of address space: what asks for more gets a MemoryError, and its finding is null."""
GRACE_S: Final = 10.0
"""Seconds after a check's limit, by which whoever started this process has ended it, if they are still there."""


def main() -> None:
    """Serve requests until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a verifier's library prints must not be taken for an answer
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        _serve(json.loads(line), answers)


def _serve(request: dict[str, Any], answers: TextIO) -> None:
    try:
        case = case_of(request["case"])
        wanted = request.get("verifiers")
        names = registry.applying(case) if wanted is None else [name for name in wanted if registry.applies(name, case)]
    except (KeyError, ValueError) as error:
        _say(answers, {"error": str(error)})
        return
    _say(answers, {"verifiers": names})
    for name in names:
        try:
            verifier = registry.find(name)
            registry.load(verifier, case)
        except Exception as error:  # noqa: BLE001  # a library that is missing here is no fault of the response
            _say(answers, {"begins": name, "version": "", "limit_s": LIMIT_S})
            why = f"Could not be checked: {type(error).__name__}: {error}"
            _say(answers, {"finding": asdict(Finding(name, "", None, why))})
            continue
        _say(answers, {"begins": name, "version": verifier.version, "limit_s": verifier.limit_s})
        # An orphan in an endless loop would never see that nobody listens: the kernel ends it.
        signal.setitimer(signal.ITIMER_REAL, verifier.limit_s + GRACE_S)
        finding = checked(verifier, case)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answers, {"finding": asdict(finding)})


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    print(json.dumps(what, ensure_ascii=False).encode("utf-8", "replace").decode(), file=answers, flush=True)


if __name__ == "__main__":
    main()
