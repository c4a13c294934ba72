"""Real worker processes over a real broker and database, and the means to end each of them at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from app.kernel.db import session_scope
from app.kernel.jobs import Queue
from app.kernel.settings import ROOT
from app.laptop.pools import POOLS
from app.services.embedded import Valkey
from app.upkeep.audit import audit
from tests import patience
from tests.fake_engine import FakeEngine
from tests.generating import assert_nothing_lost_or_doubled, counts
from tests.patience import PATIENCE

USUAL = (Queue.GENERATION, Queue.CONTROL)


def eventually(look: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait until ``look`` is true; fail after ``within`` seconds, saying ``what`` never came and what there is."""
    try:
        patience.eventually(look, within, what)
    except AssertionError as error:
        error.add_note(str(counts()))
        raise


@dataclass
class Rig:
    """An engine, a broker, and workers of our own."""

    engine: FakeEngine
    folder: Path
    environment: dict[str, str]
    broker: Valkey = field(init=False)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.broker = Valkey(self.folder / "broker")
        self.broker.prepare()

    # ── Starting ─────────────────────────────────────────────────────────────────────────────────────────────────
    def start_broker(self) -> None:
        """Start Valkey, on the same port as before, and wait for it."""
        self._start("broker", self.broker.command())
        eventually(self.broker.ready, "the broker answers")

    def start_worker(self, queue: Queue) -> None:
        """Start the worker of ``queue`` as an installation does."""
        self._start(queue.value, [*_celery(), "worker", *POOLS[queue].of(queue), "-l", "INFO"])

    def start_beat(self) -> None:
        """Start the scheduler."""
        self._start("beat", [*_celery(), "beat", "--pidfile=", "-l", "INFO"])

    def start_all(self) -> None:
        """Broker, beat, and the workers of generation and control."""
        self.start_broker()
        for queue in USUAL:
            self.start_worker(queue)
        self.start_beat()

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = os.environ | self.environment | {"BROKER_URL": self.broker.url}
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    # ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────
    def children(self, name: str) -> list[psutil.Process]:
        """The pool children of a worker."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.processes[name].pid).children())
        return []

    def kill_child(self, name: str) -> bool:
        """``kill -9`` the worker's pool child; false when there is none at this moment."""
        for child in self.children(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGKILL)
                return True
        return False

    def kill(self, name: str) -> list[psutil.Process]:
        """``kill -9`` a process, leaving its children to themselves; returns them."""
        children = self.children(name)
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)
        return children

    def flush_broker(self) -> None:
        """Every message is lost."""
        with redis.Redis.from_url(self.broker.url) as client:
            client.flushall()

    # ── Ending ───────────────────────────────────────────────────────────────────────────────────────────────────
    def stop(self) -> None:
        """End everything that is left."""
        left = []
        for process in self.processes.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                left += [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        for process in self.processes.values():
            process.wait(10)

    def logs(self) -> Iterator[tuple[str, str]]:
        """What each process said last, for a test that failed."""
        for log in sorted(self.folder.glob("*.log")):
            yield log.stem, log.read_text(errors="replace")[-3000:]


def _celery() -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "workers.celery_app"]


def all_settled(total: int) -> bool:
    """Whether every one of ``total`` prompts is ready or quarantined."""
    found = counts()
    return found.get("ready", 0) + found.get("quarantined", 0) == total


def assert_nothing_is_wrong() -> None:
    """The audit finds nothing, and every prompt has exactly what it should have."""
    assert_nothing_lost_or_doubled()
    with session_scope() as session:
        assert list(audit(session)) == []
