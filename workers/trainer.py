"""The subprocess of one training run, and the tail of the files it writes.

Training knows only files (``training``): it gets a run file, and says what happens in ``events.jsonl``, on its log and by
its exit status. Nothing of the installation's secrets is in its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from app.rounds.config import write_run_file
from app.rounds.models import RunKind
from app.rounds.runs import LOG_TAIL_CHARS, Claim, Event, Failure
from app.settings import ROOT
from workers import imitation

log = structlog.get_logger()

MODULES = {RunKind.REWARD: "training.reward", RunKind.SFT: "workers.imitation", RunKind.DPO: "training.dpo"}
STOP_GRACE = 20.0
"""Seconds from SIGTERM to SIGKILL: a step on a slow machine may take some."""
EVENT_BYTES = 4 * 1024 * 1024
SECRETS = ("CORRAL_", "DATABASE_URL", "BROKER_URL")
STATUS_BAD_INPUT, STATUS_NOT_FINITE, STATUS_DISK = 2, 3, 4
STATUS_BUSY = 5
"""Another process holds the run's folder: one that another worker has not ended yet."""

REMEDIES = {
    STATUS_BAD_INPUT: "Correct what the sentence names, then start a new training.",
    STATUS_NOT_FINITE: "Nothing was saved or promoted. Set CORRAL_TRAINING_RECIPE to a recipe with a lower learning rate, "
    "then start a new training.",
    STATUS_DISK: "Free some space on the disk, then retry: the run resumes from its last saved step.",
}
UNKNOWN_REMEDY = "Read the last lines below. Retry resumes from the last saved step."


class Trainer:
    """A started training subprocess."""

    def __init__(self, claim: Claim) -> None:
        """Write the run file and start the subprocess in a process group of its own.

        Raises:
            OSError: the run's folder cannot be written, or there are no more processes.
        """
        run_file = write_run_file(claim.folder, claim.config)
        if claim.imitation is not None:
            imitation.write_plan(claim.folder, claim.imitation)
        self._log = claim.folder / "log.txt"
        self._said = claim.folder / "events.jsonl"
        self._events = EventTail(self._said)
        self._heard: list[int] = []
        command = [sys.executable, "-m", MODULES[claim.kind], str(run_file)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.guard", str(os.getpid()), *command],
                cwd=ROOT,
                # who samples speaks to the engine and the database; the training that it becomes does not
                env=environment(claim.config) if claim.imitation is None else dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        log.info("training_started", run=claim.run_id, attempt=claim.token, pid=self._process.pid)

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None when the process still runs after ``seconds``."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End the process and whatever it started: politely, and after ``grace`` seconds for good."""
        if self.wait(0) is not None:
            return
        self._signal(signal.SIGTERM)
        if self.wait(grace) is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def new_events(self) -> list[Event]:
        """The events since the last call."""
        return self._events.read()

    def spoke(self) -> bool:
        """Whether the process has written an event, or anything else, since the last call."""
        before, self._heard = self._heard, [file.stat().st_size for file in (self._log, self._said) if file.exists()]
        return self._heard != before

    def log_tail(self) -> str:
        """The last lines that the process wrote."""
        return tail(self._log)


class EventTail:
    """Follows an append-only ``events.jsonl``; a line still being written waits for its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._seq = 0

    def read(self) -> list[Event]:
        """The complete lines since the last call; one that is no event is passed over, and keeps its number."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(EVENT_BYTES)
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = []
        for line in whole.splitlines():
            event = parse_event(self._seq, line)
            self._seq += 1
            if event is not None:
                found.append(event)
        return found


def parse_event(seq: int, line: bytes) -> Event | None:
    """One line of ``events.jsonl``, or None when it is none. Numbers that are not finite become null."""
    try:
        # PostgreSQL has no text with a zero byte in it
        text = line.decode("utf-8", errors="replace").replace("\\u0000", "\\ufffd")
        body = json.loads(text, parse_constant=lambda _: None)
        at = datetime.fromtimestamp(body.pop("time"), UTC)
        name, step = str(body.pop("event"))[:30], body.pop("step", None)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        log.warning("training_event_unreadable", seq=seq, error=str(error))
        return None
    return Event(seq, name, at, step if isinstance(step, int) else None, body)


def environment(config: dict[str, Any]) -> dict[str, str]:
    """What training sees of the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SECRETS)}
    # Threads that spin while they wait starve an engine on the same machine.
    kept |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "PYTHONUNBUFFERED": "1"}
    # With two of them in sight the trainer spreads one model over both, which TRL refuses. Who wants another says so.
    kept.setdefault("CUDA_VISIBLE_DEVICES", "0")
    if Path(config["base_model"]).exists():
        kept |= {"HF_HUB_OFFLINE": "1"}
    return kept


def tail(path: Path) -> str:
    """The last lines of a log, as text that the database takes."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_CHARS))
            text = file.read().decode("utf-8", errors="replace").replace("\x00", "")
    except FileNotFoundError:
        return ""
    return text[-LOG_TAIL_CHARS:]


def failure_of(status: int, log_tail: str) -> Failure:
    """What a failed exit status means to the person who pressed "Train"."""
    last = next((line.strip() for line in reversed(log_tail.splitlines()) if line.strip()), "It said nothing.")
    error = last if status in REMEDIES else f"The training process ended with status {status}. {last}"
    return Failure(error, REMEDIES.get(status, UNKNOWN_REMEDY), log_tail)


def was_killed(status: int) -> bool:
    """Whether somebody else ended the process: an operator, or the kernel for want of memory."""
    return status in {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM}
