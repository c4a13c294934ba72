"""Live generation: one text, streamed piece by piece to a person who waits.

1. Claim the row (the ledger is ``app.candidates.live``). No database session is open while the engine writes.
2. Pass each piece on to the stream that the browser follows; once a second note what has come, renew the lease, and see
   whether the person asked to stop. Hanging up makes the engine stop.
3. Record the whole text in one short transaction.
4. When the engine is away, put the row back untried: the sweeper rings again.
"""

from __future__ import annotations

import asyncio
import threading
from functools import lru_cache

import structlog

from app.candidates import live as ledger
from app.candidates.live import LiveClaim, Written
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.failpoints import failpoint
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import get_settings
from app.registry import service as registry
from workers import stopping
from workers.celery_app import app
from workers.engines.external import ExternalEngines
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Ask, EngineAway, ModelMissing, PromptRefused, Reply
from workers.engines.replies import EngineReplyError

log = structlog.get_logger()

_starting = threading.Lock()
NOTE_INTERVAL = 1.0
"""Seconds between two looks at the row: the most that a stop waits, and the most text that a killed worker loses."""


@app.task(name=Job.LIVE.value)
def write(generation_id: int) -> bool:
    """Write one text; false when there was nothing to do."""
    return asyncio.run_coroutine_threadsafe(_run_shared(generation_id), _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    """One event loop for all texts of this worker: its connections to the engine are open when the next one is asked for."""
    with _starting:  # the two answers of a dialogue's turn ring at once, and a cache lets both threads in
        return _started()


@lru_cache(maxsize=1)
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="live", daemon=True).start()
    return loop


@lru_cache(maxsize=1)
def _engine() -> OpenAIEngine:
    return OpenAIEngine(get_settings())


@lru_cache(maxsize=1)
def _externals() -> ExternalEngines:
    return ExternalEngines(get_settings())


async def _run_shared(generation_id: int) -> bool:
    return await run(generation_id, _engine())


async def run(generation_id: int, engine: OpenAIEngine) -> bool:
    """Write the text of one generation to its end, whatever that is; ``engine`` is ours."""
    held = await asyncio.to_thread(_claim, generation_id)
    if held is None:
        return False
    try:
        await _write(_externals().of(held.external) if held.external else engine, held)
    except EngineAway as error:
        if held.external is not None:  # whoever asks again is answered by another
            await asyncio.to_thread(_without, held, str(error))
            return True
        engine.forget()  # another one may come back
        await asyncio.to_thread(_put_back, held, str(error))
    except ModelMissing as error:
        await asyncio.to_thread(_put_back, held, str(error), missing=True)
    except (PromptRefused, EngineReplyError) as error:
        await asyncio.to_thread(_fail, held, str(error))
    except Exception as error:  # a mistake of ours must not leave somebody waiting
        log.exception("live_generation_broke", generation=held.id)
        await asyncio.to_thread(_fail, held, f"Corral failed on this text: {error!r}. Please report it.")
    return True


async def _write(engine: OpenAIEngine, held: LiveClaim) -> None:
    """Stream beside a clock: the lease is renewed, and a stop is seen, also while the engine says nothing."""
    if held.fencing_token > 1:
        live_stream.publish(held.id, "reset", number=held.fencing_token)
    parts: list[str] = []
    reply: Reply | None = None
    writing = asyncio.create_task(_stream(engine, held, parts))
    try:
        while reply is None:
            done, _ = await asyncio.wait({writing}, timeout=NOTE_INTERVAL)
            if done:
                reply = writing.result()
            elif stopping.requested():
                raise EngineAway("The worker was stopped; the next worker starts the text again.")
            elif not await asyncio.to_thread(_note, held, "".join(parts)):
                break
    finally:
        writing.cancel()  # hanging up makes the engine stop
        await asyncio.gather(writing, return_exceptions=True)
    written = _part(held, "".join(parts)) if reply is None else _whole(reply)
    await asyncio.to_thread(_finish, held, written, reply is None)


async def _stream(engine: OpenAIEngine, held: LiveClaim, parts: list[str]) -> Reply:
    """Pass on each piece as it comes, into ``parts`` as well; returns the whole."""
    ask = Ask(
        messages=held.messages,
        tools=held.tools,
        model=held.model,
        n=1,
        max_tokens=held.max_tokens,
        sampling=held.sampling,
    )
    at = 0
    async for piece in engine.stream(ask):
        if isinstance(piece, Reply):
            return piece
        failpoint("live.piece")
        parts.append(piece)
        await asyncio.to_thread(live_stream.publish, held.id, "text", piece, number=held.fencing_token, at=at)
        at += len(piece)
    raise EngineReplyError("The engine's stream ended without an answer.")


def _whole(reply: Reply) -> Written:
    [answer] = reply.answers
    return Written(
        text=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        sampling=reply.sampling,
        engine_version=reply.engine_version,
    )


def _part(held: LiveClaim, text: str) -> Written:
    """What had come when it was stopped. The engine has not counted it: a token is four characters, about."""
    return Written(text, "stopped", 0, -(-len(text) // 4), held.sampling, "")


# ── Short transactions, run in threads beside the event loop ─────────────────────────────────────────────────────────
def _claim(generation_id: int) -> LiveClaim | None:
    with session_scope() as session:
        return ledger.claim(session, generation_id)


def _note(held: LiveClaim, so_far: str) -> bool:
    with session_scope() as session:
        return ledger.note_progress(session, held, so_far)


def _finish(held: LiveClaim, written: Written, stopped: bool) -> None:  # noqa: FBT001 - called through threads
    with session_scope() as session:
        ledger.finish(session, held, written, stopped=stopped)


def _fail(held: LiveClaim, reason: str) -> None:
    with session_scope() as session:
        ledger.fail(session, held, reason)


def _without(held: LiveClaim, reason: str) -> None:
    with session_scope() as session:
        registry.mark_failed(session, held.deployment_id, reason)
        ledger.fail(session, held, "A model did not answer. Ask again: another one will.")


def _put_back(held: LiveClaim, reason: str, *, missing: bool = False) -> None:
    with session_scope() as session:
        ledger.put_back(session, held, reason)
        if missing:
            enqueue(session, Job.RECONCILE_SERVING)
