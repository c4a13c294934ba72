"""Whether code that models wrote can be run, and whether attacks on whatever runs it come through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.kernel.settings import ROOT, Settings
from app.services.instance import Running
from app.upkeep.diagnoses import Diagnosis, fail, ok, warn

PATIENCE_S: Final = 60.0
PROVE: Final = "python -m workers.sandbox prove --all"


@dataclass(frozen=True, slots=True)
class Proof:
    """What ``python -m workers.sandbox prove`` told."""

    lines: list[dict[str, Any]]

    def word(self, name: str) -> Any:
        """What is said under that name, None where nothing is."""
        return next((line[name] for line in self.lines if name in line), None)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The attacks that were tried."""
        return [line for line in self.lines if "attack" in line]


def look_at_sandbox(settings: Settings, _running: Running | None) -> Iterator[Diagnosis]:
    """Code that models wrote can be run, and two attacks where it runs do not come through."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.sandbox", "prove"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    proof = Proof([json.loads(line) for line in done.stdout.splitlines()])
    name, missing = proof.word("sandbox"), proof.word("error")
    through = [attempt["attack"] for attempt in proof.attempts if attempt["open"] is not False]
    if proof.word("away"):
        yield _away(settings, str(missing))
    elif missing is not None:
        yield warn("sandbox", str(missing), _remedy())
    elif name is None or not proof.attempts:
        yield fail("sandbox", (done.stderr.strip().splitlines() or ["It said nothing."])[-1], f"Run `{PROVE}`.")
    elif through:
        remedy = f"Let no batch check code here, and install bubblewrap: `{PROVE}`."
        yield fail("sandbox", f"{name} does not stop: {', '.join(through)}", remedy)
    else:
        yield _stopped(str(name), proof)


def _stopped(name: str, proof: Proof) -> Diagnosis:
    stops = f"{name} stops {' and '.join(attempt['attack'] for attempt in proof.attempts)}"
    service = proof.word("service")
    if service is None:
        more = "; bubblewrap would also hide the files (`apt install bubblewrap`)" if name == "landlock" else ""
        return ok("sandbox", stops + more)
    if service["secrets"]:
        known = ", ".join(service["secrets"])
        return fail(
            "sandbox", f"{stops}, in a service that knows {known}", "Start the service without these variables."
        )
    if service["network"]:
        reached = ", ".join(service["network"])
        remedy = "Give the service no network: `network_mode: none`."
        return warn(
            "sandbox", f"{stops}, in a service of its own without secrets, which has a network ({reached})", remedy
        )
    return ok("sandbox", f"{stops}, in a service of its own without network and without secrets")


def _away(settings: Settings, said: str) -> Diagnosis:
    if not Path(settings.sandbox_socket).parent.is_dir():
        remedy = "Ask where checks are made: `docker compose exec checks corral doctor`."
        return warn("sandbox", "Code runs in a service of its own that is not open to this container.", remedy)
    remedy = "Start it: `docker compose up -d sandbox`. Until then checks that run code wait; all else works."
    return fail("sandbox", said, remedy)


def _remedy() -> str:
    if sys.platform != "linux":
        return "Run the worker that makes checks on Linux. Here checks that run code stay empty; all else works."
    return "Install it: `apt install bubblewrap`. Without it, checks that run code stay empty; all else works."
