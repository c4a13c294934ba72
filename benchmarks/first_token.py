"""Time to the first streamed piece of text through Corral, beside the engine's own, in one run. Budget: 50 ms over it.

    python -m benchmarks.first_token [--texts 30] [--delay 0.05]

Ours: the request for a revision is committed and rung for, a Celery worker of its own process claims it, asks the engine, and
passes the text through Valkey; the clock stops at the first piece that a reader of the stream has. Reference: the same
prompt, sent to the same engine by a bare client that streams. Both take turns. The engine is a stand-in that waits ``delay``
seconds before each answer, so that what is measured is the way and not the model.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from alembic import command
from sqlalchemy.orm import joinedload

from app.accounts.models import User
from app.candidates import live
from app.candidates.models import LiveKind
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.jobs import Queue, producer
from app.kernel.settings import ROOT, get_settings
from app.laptop.pools import POOLS
from app.registry.models import Deployment
from app.services.embedded import Valkey, poll, temporary_postgres
from app.services.migrating import config
from benchmarks.budget import Budget, verdict
from tests.factories import make_batch, make_deployment, make_prompt, make_user
from tests.fake_engine import FakeEngine
from tests.generating import tiny_engine

BUDGET_MS = 50.0


@contextmanager
def installation(folder: Path, engine: FakeEngine) -> Iterator[None]:
    """A database, a broker, and a worker of the queue ``live``, as ``corral up`` starts it."""
    broker = Valkey(folder / "broker")
    broker.prepare()
    with temporary_postgres("fsync=off") as database:
        os.environ |= {
            "DATABASE_URL": database,
            "BROKER_URL": broker.url,
            "CORRAL_DATA_DIR": str(folder),
            "CORRAL_ENGINE_URL": engine.url,
            "CORRAL_BASE_MODEL": str(engine.model),
            "CORRAL_LIVE_TOKENS_PER_DAY": "100000000",
        }
        get_settings.cache_clear()
        command.upgrade(config(), "head")
        words = ["-A", "workers.celery_app", "worker", *POOLS[Queue.LIVE].of(Queue.LIVE), "-l", "WARNING"]
        commands = [broker.command(), [sys.executable, "-m", "celery", *words]]
        silent = subprocess.DEVNULL
        processes = [subprocess.Popen(each, cwd=ROOT, stdout=silent, stderr=silent) for each in commands]
        try:
            if not any(broker.ready() for _ in poll(10)):
                raise SystemExit("first_token: the broker did not start")
            yield
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(20)


async def ours(user: User, deployment: int, prompt_id: int, number: int) -> float:
    """Seconds from the request to the first piece of text."""
    began = time.perf_counter()
    with session_scope() as session:
        generation = live.request(
            session,
            user,
            prompt_id=prompt_id,
            kind=LiveKind.REVISION,
            messages=[{"role": "user", "content": "Send a message."}],
            deployment=session.get_one(Deployment, deployment, options=[joinedload(Deployment.checkpoint)]),
            max_tokens=64,
            request_key=f"k{number}",
            asked={"number": number},
        )
    took = 0.0
    async for entries in live_stream.follow(generation.id):
        if not took and any(entry.kind == "text" for entry in entries):
            took = time.perf_counter() - began
        if any(entry.kind == "end" for entry in entries):
            return took
    raise SystemExit("first_token: the stream ended without a text")


async def reference(client: httpx.AsyncClient) -> float:
    """Seconds from a bare request to its first piece of text."""
    body = {
        "model": "base",
        "messages": [{"role": "user", "content": "Send a message."}],
        "max_tokens": 64,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, took = time.perf_counter(), 0.0
    async with client.stream("POST", "chat/completions", json=body) as reply:
        async for line in reply.aiter_lines():
            if line.startswith("data:") and not took:
                took = time.perf_counter() - began
    return took


async def measure(texts: int, engine: FakeEngine) -> int:
    """Take turns, print both medians and the difference."""
    with session_scope() as session:
        user, prompt = make_user(session), make_prompt(session, make_batch(session))
        deployment = make_deployment(session).id
    producer()
    asked: list[float] = []
    own: list[float] = []
    async with httpx.AsyncClient(base_url=engine.url + "/", timeout=60) as client:
        for number in range(texts + 3):  # the first ones start the worker's threads and read its tokeniser
            took, bare = await ours(user, deployment, prompt.id, number), await reference(client)
            if number >= 3:
                asked.append(1000 * took)
                own.append(1000 * bare)
    ours_ms, own_ms = statistics.median(asked), statistics.median(own)
    print(f"first text through Corral: {ours_ms:7.1f} ms (median of {texts})")
    print(f"the engine's own:          {own_ms:7.1f} ms")
    return verdict(Budget("first text over the engine's own", ours_ms - own_ms, BUDGET_MS, "ms"))


def main() -> int:
    """Measure; the status says whether the budget was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=30)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before each of the engine's answers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fake = tiny_engine(Path(folder))
        fake.delay = given.delay
        with fake.running() as engine, installation(Path(folder), engine):
            return asyncio.run(measure(given.texts, engine))


if __name__ == "__main__":
    sys.exit(main())
