"""Tokens per second through the whole pipeline, beside the engine's own on the same prompts, in one run.

    python -m benchmarks.generation [--prompts 48] [--rounds 3] [--engine URL --model FOLDER]

Pipeline: claim, sample, record with comparison, in PostgreSQL, as the generation worker does it. Raw: the same requests (ids,
sampling, number of answers) sent by a bare client that records nothing, with as many in flight as the worker has. Halves
alternate and change places, so that what else the machine does hits both, and the engine has seen every prompt before the
first of them; the medians and their ratio are printed. Without ``--engine`` a vLLM over the bundled model is started and
stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import httpx
from alembic import command
from alembic.config import Config
from sqlalchemy import func, select

from app.candidates.models import Candidate
from app.candidates.policy import draw, sampling_of
from app.kernel.db import session_scope
from app.kernel.settings import ROOT, Settings, get_settings
from app.prompts.models import Prompt
from app.registry import service as registry
from app.services.embedded import temporary_postgres
from app.site import tables as models  # noqa: F401 - all tables
from benchmarks.budget import Budget, verdict
from tests.generating import open_batch
from tests.real_engine import KEY, base_model, running_vllm
from workers.engines.chat import ChatEncoder
from workers.tasks.generation import run
from workers.tasks.serving import reconcile

BUDGET = 0.9
"""Of the engine's own tokens a second."""
TOPICS = ("rivers", "bread", "prime numbers", "the moon", "a lost key", "sorting", "spring in Lisbon", "fair games")
KINDS = ("Explain {} to a child.", "Write a short story about {}.", "List five surprising facts about {}.")


@dataclass(frozen=True)
class Half:
    """One measured half."""

    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def questions(count: int) -> list[str]:
    """``count`` different prompts."""
    return [f"({i}) " + KINDS[i % len(KINDS)].format(TOPICS[i % len(TOPICS)]) for i in range(count)]


def give_work(texts: list[str], max_tokens: int) -> int:
    """A batch of four candidates a prompt; its id."""
    with session_scope() as session:
        batch = open_batch(session, texts, wanted=4)
        batch.max_tokens = max_tokens
        return batch.id


def pipeline(settings: Settings, texts: list[str], max_tokens: int) -> Half:
    """Through the ledger: what ``corral up`` does."""
    batch = give_work(texts, max_tokens)
    start = time.perf_counter()
    ready = asyncio.run(run(settings))
    seconds = time.perf_counter() - start
    assert ready == len(texts), f"only {ready} of {len(texts)} prompts became ready"
    with session_scope() as session:
        query = select(func.sum(Candidate.completion_tokens)).join(Candidate.prompt).where(Prompt.batch_id == batch)
        return Half(session.scalars(query).one() or 0, seconds)


def raw(settings: Settings, texts: list[str], max_tokens: int, in_flight: int) -> Half:
    """The same requests, sent by a client that does nothing else. Rendering to ids is left out of its time."""
    encoder = ChatEncoder(settings.base_model_path)
    with session_scope() as session:
        rotation = registry.serving(session)
    bodies = [
        {
            **sampling_of(one.deployment, {}),
            "model": "base",
            "prompt": encoder.encode([{"role": "user", "content": text}]),
            "n": one.n,
            "max_tokens": max_tokens,
        }
        for index, text in enumerate(texts)
        for one in draw(index, 4, rotation)
    ]
    start = time.perf_counter()
    tokens = asyncio.run(_send(settings, bodies, in_flight))
    return Half(tokens, time.perf_counter() - start)


async def _send(settings: Settings, bodies: list[dict[str, object]], in_flight: int) -> int:
    gate = asyncio.Semaphore(in_flight)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    headers = {"authorization": f"Bearer {settings.engine_api_key.get_secret_value()}"}
    async with httpx.AsyncClient(limits=limits, timeout=600, trust_env=False, headers=headers) as client:

        async def one(body: dict[str, object]) -> int:
            async with gate:
                reply = await client.post(f"{settings.engine_url}/completions", json=body)
            return int(reply.raise_for_status().json()["usage"]["completion_tokens"])

        return sum(await asyncio.gather(*(one(body) for body in bodies)))


def measure(settings: Settings, given: argparse.Namespace) -> int:
    """Alternate the halves and print the table; returns the exit status."""
    with session_scope() as session:
        registry.ensure_base(session, settings.base_model_path)
    asyncio.run(reconcile(settings))
    in_flight = settings.engine_concurrency
    texts = questions(given.prompts)
    raw(settings, texts, 4, in_flight)  # both warm, and the prompts in the engine's prefix cache
    pipeline(settings, texts, 4)
    halves: dict[str, list[Half]] = {"pipeline": [], "raw": []}
    for turn in range(given.rounds):
        for name in ("pipeline", "raw") if turn % 2 == 0 else ("raw", "pipeline"):
            if name == "pipeline":
                half = pipeline(settings, texts, given.max_tokens)
            else:
                half = raw(settings, texts, given.max_tokens, in_flight)
            halves[name].append(half)
            print(f"  {name:<9} {half.tokens:>7} tokens {half.seconds:>7.1f} s {half.rate:>7.1f} tok/s", flush=True)
    rates = {name: statistics.median(half.rate for half in done) for name, done in halves.items()}
    pairs = [p.rate / r.rate for p, r in zip(halves["pipeline"], halves["raw"], strict=True)]
    print(f"\n{given.prompts} prompts x 4 candidates, <= {given.max_tokens} tokens, {in_flight} requests in flight")
    print(f"| | tok/s (median of {given.rounds}) |\n|---|---|")
    print(f"| engine alone | {rates['raw']:.1f} |\n| through the pipeline | {rates['pipeline']:.1f} |")
    print(f"| ratio of medians | {rates['pipeline'] / rates['raw']:.3f} |")
    best = {name: max(half.rate for half in done) for name, done in halves.items()}
    print(f"| fastest halves (what a busy machine leaves to judge by) | {best['pipeline'] / best['raw']:.3f} |")
    print(f"| ratio by pair, median (range) | {statistics.median(pairs):.3f} ({min(pairs):.3f}-{max(pairs):.3f}) |")
    return verdict(Budget("pipeline's share of the engine's own rate", statistics.median(pairs), BUDGET, at_least=True))


@contextmanager
def installation(engine_url: str, model: Path) -> Iterator[Settings]:
    """A fresh database with the base in rotation, and settings that point at the engine."""
    with temporary_postgres() as url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DATABASE_URL": url,
            "BROKER_URL": "memory://",
            "CORRAL_DATA_DIR": folder,
            "CORRAL_ENGINE_URL": engine_url,
            "CORRAL_ENGINE_API_KEY": os.environ.get("CORRAL_ENGINE_API_KEY", KEY),
            "CORRAL_BASE_MODEL": str(model),
            "CORRAL_GENERATION_AHEAD": "1000000",  # nobody works here
        }
        get_settings.cache_clear()
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
        yield get_settings()


def main() -> int:
    """Parse, start what is needed, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--engine", help="an address ending in /v1; its base model must be --model")
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    model = given.model or base_model()
    with tempfile.TemporaryDirectory() as logs:
        engine = nullcontext(given.engine) if given.engine else running_vllm(model, Path(logs) / "engine.log")
        with engine as url, installation(url, model) as settings:
            return measure(settings, given)


if __name__ == "__main__":
    sys.exit(main())
