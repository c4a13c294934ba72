"""The subprocess of one stage of a run, and the tail of the files it writes.

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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

import structlog

from app.kernel.settings import ROOT
from app.rounds.claims import Claim
from app.rounds.endings import Failure
from app.rounds.plan import RUN_FILE, Stage
from app.rounds.reports import LOG_TAIL_CHARS, Event
from app.rounds.run_file import write_toml
from workers.training.launching import Ranks

log = structlog.get_logger()

LOG = "log.txt"
"""In the run's folder: what all of its stages print."""
STOP_GRACE = 20.0
"""Seconds from SIGTERM to SIGKILL: a step on a slow machine may take some."""
EVENT_BYTES = 4 * 1024 * 1024
SECRETS = ("CORRAL_", "DATABASE_URL", "BROKER_URL", "AWS_", "GOOGLE_", "AZURE_")
NO_SECRETS = ("CORRAL_SANDBOX",)
"""Where code that a model wrote may be run: training starts the checks that run it."""


class StageProcess:
    """A started stage of a run."""

    def __init__(self, claim: Claim, stage: Stage) -> None:
        """Write what the stage is told and start it in a process group of its own.

        Raises:
            OSError: the run's folder cannot be written, or there are no more processes.
            CannotStart: this host has not what launches several.
        """
        write_toml(claim.folder / RUN_FILE, claim.config)
        if stage.told:
            write_toml(claim.folder / stage.settings_file, {**stage.says, **claim.told(stage)})
        self._log = claim.folder / LOG
        self._said = claim.folder / "events.jsonl"
        self._events = EventTail(self._said)
        self._heard: list[int] = []
        self._makes = [claim.place(name) for name in stage.makes]
        self._most = sum(_sizes(self._makes))
        self._ranks = Ranks.of(claim, stage)
        words = self._ranks.command(module(claim, stage)) if self._ranks else command(claim, stage)
        env = dict(os.environ) if stage.knows_installation else environment(claim.config, launched=bool(self._ranks))
        with self._log.open("ab") as output:
            self._log_before = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.training.guard", str(os.getpid()), *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        log.info("stage_started", run=claim.run_id, attempt=claim.token, stage=stage.name, pid=self._process.pid)

    def wait(self, seconds: float) -> int | None:
        """The exit status, or None when the process still runs after ``seconds``."""
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            if self._ranks:
                self._ranks.look()
            return None
        return self._ranks.status(status) if self._ranks else status

    def stop(self, grace: float = STOP_GRACE) -> None:
        """End the process and whatever it started: politely, and by force after ``grace`` seconds."""
        if self.wait(0) is None:
            self._signal(signal.SIGTERM)
            if self.wait(grace) is None:
                self._signal(signal.SIGKILL)
                self._process.wait()
        if self._ranks:
            self._ranks.end()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def new_events(self) -> list[Event]:
        """The events since the last call."""
        return self._events.read()

    def spoke(self) -> bool:
        """Whether the process has written an event, or anything else, since the last call."""
        before, self._heard = self._heard, _sizes([self._log, self._said])
        return self._heard != before

    def got_further(self) -> bool:
        """Whether the files that the stage makes have grown since the last call: the next start goes on behind that."""
        before, self._most = self._most, max(self._most, sum(_sizes(self._makes)))
        return self._most > before

    def log_tail(self) -> str:
        """The last lines of the run's log: of this stage, and of those before it."""
        return tail(self._log)

    def last_words(self) -> str:
        """The last lines that this process wrote; of several, the one that failed."""
        return (self._ranks.said if self._ranks else "") or tail(self._log, self._log_before)


def _sizes(files: Sequence[Path]) -> list[int]:
    """Of those that are there, in bytes; the stage may be replacing one at this moment."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            found += [status.st_size] if S_ISREG(status.st_mode) else []
    return found


def command(claim: Claim, stage: Stage) -> list[str]:
    """How the stage is started in one process."""
    return [sys.executable, "-m", *module(claim, stage)]


def module(claim: Claim, stage: Stage) -> list[str]:
    """The stage's module and its arguments, each one in braces being replaced by what it stands for."""
    return [str(claim.thing(part[1:-1])) if part.startswith("{") else part for part in stage.command]


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


def environment(config: dict[str, Any], *, launched: bool = False) -> dict[str, str]:
    """What training sees of the environment; a launcher gives each of its processes a GPU of its own."""
    kept = {
        name: value for name, value in os.environ.items() if name.startswith(NO_SECRETS) or not name.startswith(SECRETS)
    }
    # Threads that spin while they wait starve an engine on the same machine.
    kept |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "PYTHONUNBUFFERED": "1"}
    # With two of them in sight the trainer spreads one model over both, which TRL refuses. Who wants another says so.
    if launched:
        kept["SLURM_KILL_BAD_EXIT"] = "1"  # else srun lets the others wait for one that has ended
    else:
        kept.setdefault("CUDA_VISIBLE_DEVICES", "0")
    if Path(config["base_model"]).exists():
        kept |= {"HF_HUB_OFFLINE": "1"}
    return kept


def tail(path: Path, start: int = 0) -> str:
    """The last lines of a log from byte ``start`` on, as text that the database takes."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - LOG_TAIL_CHARS))
            text = file.read().decode("utf-8", errors="replace").replace("\x00", "")
    except OSError:
        return ""
    return text[-LOG_TAIL_CHARS:]


def failure_of(stage: Stage, status: int, last_words: str) -> Failure:
    """What a failed exit status of a stage means to the person who pressed "Train"."""
    last = next((line.strip() for line in reversed(last_words.splitlines()) if line.strip()), "It printed nothing.")
    known = stage.remedies.by_status
    error = last if status in known else f"The stage “{stage.name}” ended with status {status}. {last}"
    return Failure(error, known.get(status, stage.remedies.otherwise))


def was_killed(status: int) -> bool:
    """Whether the process was ended from outside: by an operator, or by the kernel when memory ran out."""
    return status in {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM}
