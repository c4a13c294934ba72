"""The embedded broker's log, which may be lost: a doorbell is rung again from the ledger, so a broken log stops nothing."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path

from app.embedded import Valkey, free_port, poll

LOG = "appendonlydir"
PATIENCE = 60.0


def set_broken_aside(broker: Valkey) -> Path | None:
    """See that ``broker``, which is prepared and does not run, can read its log; a log that it cannot read is set aside.

    Returns:
        Where the broken log lies now; None when it is whole, or when something else keeps the broker from starting.
    """
    log = broker.folder / LOG
    if not log.exists() or _starts(broker):
        return None
    aside = broker.folder / f"{LOG}.broken-{time.strftime('%Y%m%d-%H%M%S')}"
    log.rename(aside)
    if _starts(broker):
        return aside
    _forget(log)
    aside.rename(log)  # it was not the log: what is really wrong is said when the broker starts in earnest
    return None


def _starts(broker: Valkey) -> bool:
    """Whether it comes up over its folder, on a port of the trial's own."""
    trial = replace(broker, port=free_port())
    command = [*trial.command(), "--port", str(trial.port), "--logfile", ""]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in poll(PATIENCE):
            if trial.ready():
                return True
            if process.poll() is not None:
                return False
        return True  # a long log is still being read; that is no damage
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _forget(log: Path) -> None:
    """Remove what a trial without a log began."""
    for file in log.glob("*"):
        file.unlink()
    if log.exists():
        log.rmdir()
