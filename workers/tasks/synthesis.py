"""Makes the prompts that were ordered, some seconds at a time, and hands them to the import when all are tried.

The ledger is :mod:`app.synthesis.ledger`, what makes prompts is :mod:`workers.synthesis`. No database session is open while
something is made or a model is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import structlog

from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job
from app.kernel.settings import get_settings
from app.kernel.storable import flaw
from app.kernel.thinking import parted
from app.synthesis import ledger
from app.synthesis.ledger import Claim, Row, Work
from workers import stopping
from workers.celery_app import app
from workers.engines.external import external_engine
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, EngineAway, ModelMissing, PromptRefused
from workers.engines.replies import EngineReplyError
from workers.synthesis.protocol import MOST_REASON, Document, Dropped, Ended, Impossible, Made, Order
from workers.synthesis.registry import find

log = structlog.get_logger()

SLICE_S = 20.0
"""Seconds of one step, after which other work of the queue comes first."""
AWAY_S = 30.0
"""Seconds until a model that is away is asked again."""
TOGETHER = 8
"""Numbers that are made at once where a model is asked, at most; of others there are more, to store them together."""
TOGETHER_UNASKED = 25
ANSWER_TOKENS = 2048


class _Away(Exception):
    """What writes is away: nothing counts as tried."""


@app.task(name=Job.MAKE_PROMPTS.value)
def make_prompts() -> int:
    """Carry one order on for some seconds; returns how many numbers were tried."""
    with session_scope() as session:
        claim = ledger.claim(session)
        work = ledger.work_of(session, claim) if claim else None
    if claim is None or work is None:
        return 0
    failpoint("synthesis.claimed", str(claim.synthesis_id))
    return asyncio.run(_carry_on(claim, work))


async def _carry_on(claim: Claim, work: Work) -> int:
    began, left, number = time.monotonic(), work.wanted - work.next_number, work.next_number
    async with _writer(work) as (order, together), _kept(claim):
        while left and not stopping.requested():
            numbers = range(number, min(number + together, work.wanted))
            tried = await asyncio.gather(*(_tried(work.generator, order, each) for each in numbers))
            rows, stopped_by = _rows(tried)
            with session_scope() as session:
                remaining = ledger.record(session, claim, rows, ended=isinstance(stopped_by, Ended))
            if remaining is None:
                return number - work.next_number  # another worker has it
            left, number = remaining, number + len(rows)
            if stopped_by is not None and not isinstance(stopped_by, Ended):
                _give_up(claim, stopped_by)
                return number - work.next_number
            if time.monotonic() - began >= SLICE_S:
                break
    with session_scope() as session:
        ledger.release(session, claim) if left else ledger.finish(session, claim)
    return number - work.next_number


def _give_up(claim: Claim, why: Exception) -> None:
    with session_scope() as session:
        if isinstance(why, _Away):
            ledger.wait(session, claim, f"Waiting for the model that writes: {why}", AWAY_S)
        else:
            ledger.fail(session, claim, str(why))


def _rows(tried: list[Row | Exception]) -> tuple[list[Row], Exception | None]:
    """The rows before the first number that stops everything, and what stops it."""
    rows: list[Row] = []
    for each in tried:
        if isinstance(each, Exception):
            return rows, each
        rows.append(each)
    return rows, None


async def _tried(generator: str, order: Order, number: int) -> Row | Exception:
    """What becomes of one number; an exception is returned where it is no matter of this number alone."""
    try:
        made = await find(generator).make(order, number)
        record = record_of(generator, order, number, made)
        wrong = next(filter(None, map(flaw, _texts(record))), None)
        return Row(number, reason=f"it contains {wrong}") if wrong else Row(number, record)
    except (Ended, Impossible, _Away) as stops:
        return stops
    except Dropped as dropped:
        return Row(number, reason=_storable(str(dropped)))
    except (EngineReplyError, PromptRefused) as error:
        return Row(number, reason=_storable(f"the model that writes gave no usable answer: {error}"))
    except Exception as error:  # a mistake of one generator costs this number
        log.exception("prompt_not_made", generator=generator, number=number)
        return Row(number, reason=_storable(f"the generator failed: {error!r}"))


def record_of(generator: str, order: Order, number: int, made: Made) -> dict[str, Any]:
    """What was made as a record that the import reads."""
    source = {"generator": generator, "version": find(generator).version, "seed": order.seed, "number": number}
    given = {name: value for name, value in asdict(made).items() if value not in (None, []) and name != "source"}
    return {"id": f"{generator}-{order.seed}-{number}", **given, "metadata": {"made": source | made.source}}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    return [text for each in value for text in _texts(each)] if isinstance(value, list) else []


def _storable(reason: str) -> str:
    said = reason.encode("utf-8", "replace").decode().replace("\0", "�")
    return said[:MOST_REASON]


@contextlib.asynccontextmanager
async def _writer(work: Work) -> AsyncIterator[tuple[Order, int]]:
    """The order with its model, and how many numbers are made at once."""
    documents = tuple(Document(**each) for each in work.material)
    plain = Order(work.seed, documents, work.options)
    if work.endpoint is None or work.model is None:
        yield plain, TOGETHER_UNASKED
        return
    asked = _Model(work.endpoint, work.model)
    there = get_settings().endpoints.get(work.endpoint)
    try:
        yield Order(work.seed, documents, work.options, asked.ask), min(TOGETHER, there.concurrency if there else 1)
    finally:
        await asked.aclose()


class _Model:
    """The external model that writes, asked one question at a time for each number."""

    def __init__(self, endpoint: str, model: str) -> None:
        self._endpoint, self._model = endpoint, model
        self._engine: OpenAIEngine | None = None

    async def ask(self, question: str) -> str:
        """Its answer, without the thinking before it."""
        try:
            if self._engine is None:
                self._engine = external_engine(get_settings(), self._endpoint, self._model)
            messages = [{"role": "user", "content": question}]
            reply = await self._engine.sample(Ask(messages, None, None, 1, ANSWER_TOKENS, {}))
        except (EngineAway, ModelMissing) as error:
            raise _Away(str(error)) from error
        answer = reply.answers[0]
        if answer.finish_reason == "length":
            raise Dropped(f"the model wrote more than {ANSWER_TOKENS:,} tokens")
        thought = parted(answer.text)
        return thought[1] if thought else answer.text

    async def aclose(self) -> None:
        """Close its connections."""
        if self._engine is not None:
            await self._engine.aclose()


@contextlib.asynccontextmanager
async def _kept(claim: Claim) -> AsyncIterator[None]:
    """Renew the lease beside the block: a model may take long."""

    def renew() -> None:
        try:
            with session_scope() as session:
                ledger.renew(session, claim)
        except Exception as error:  # noqa: BLE001 - the database may be away for a moment; the next third tries again
            log.warning("synthesis_not_renewed", synthesis=claim.synthesis_id, error=str(error).splitlines()[0])

    async def again() -> None:
        while True:
            await asyncio.sleep(ledger.LEASE / 3)
            await asyncio.to_thread(renew)

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
