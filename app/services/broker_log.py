"""The embedded broker's log, which may be lost: a doorbell is rung again from the ledger, so a broken log stops nothing."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from app.services.aside import set_aside
from app.services.embedded import Valkey, free_port, poll

LOG = "appendonlydir"
TRIAL = "appendonlydir.trial"
PATIENCE = 60.0


def set_broken_aside(broker: Valkey) -> Path | None:
    """See that ``broker``, which is prepared and does not run, can read its log; a log that it cannot read is set aside.

    Returns:
        Where the broken log lies now; None when it is whole, or when something else keeps the broker from starting:
        that is said when the broker starts in earnest.
    """
    log = broker.folder / LOG
    if not (log.exists() or log.is_symlink()) or _starts(broker, LOG) or not _starts(broker, TRIAL):
        return None
    return set_aside(log, "it starts empty, and waiting work is announced again")


def _starts(broker: Valkey, log: str) -> bool:
    """Whether it comes up over its folder with the log of that name, on a port of the trial's own."""
    trial = replace(broker, port=free_port())
    command = [*trial.command(), "--port", str(trial.port), "--logfile", "", "--appenddirname", log]
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
        if log == TRIAL:
            shutil.rmtree(broker.folder / log, ignore_errors=True)
