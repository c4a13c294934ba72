"""Programs that run as root, where the tests do, and as somebody who has no rights at all."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from app.kernel.settings import ROOT

NOBODY = 65534
LONG = 900
"""Seconds for all attacks of a sandbox: whichever test comes first waits for all of them, on a busy machine for minutes."""


def skip_where_impossible(user: str) -> None:
    if user == "root" and os.geteuid() != 0:
        pytest.skip("these tests run as a user")
    if user == "user" and os.geteuid() == 0 and not Path("/usr/bin/python3").exists():
        pytest.skip("there is no Python here that another user may run")


@functools.cache
def let_loose(kind: str, user: str, *attacks: str) -> dict[str, dict[str, Any]]:
    """What came of the attacks, by name; ``{"error": …}`` stands under "" where there is no such sandbox."""
    skip_where_impossible(user)
    other = user == "user" and os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="corral-loose-"))
    try:
        shutil.copytree(ROOT / "workers" / "sandbox", folder / "workers" / "sandbox")
        shutil.copy(Path(__file__).with_name("loose.py"), folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        done = subprocess.run(
            ["/usr/bin/python3" if other else sys.executable, str(folder / "loose.py"), kind, *attacks],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=LONG,
            check=False,
            **({"user": NOBODY, "group": NOBODY, "extra_groups": []} if other else {}),  # type: ignore[call-overload]
        )
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line.get("attack", ""): line for line in lines}
