"""The reconciler: probe the engine, and make its adapters equal to the database's wish.

It runs every few seconds and after each change, and starts from what the engine says it serves: an engine that was
restarted is simply one that serves nothing yet. One at a time is enough. An engine that hangs holds each up for a minute,
and more of them would soon hold every thread of the control worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import func, select

from app.candidates import live
from app.db import get_engine, session_scope
from app.jobs import Job, enqueue
from app.registry import service as registry
from app.registry.manifest import BrokenCheckpoint, verify
from app.registry.models import CheckpointKind, CheckpointState, EngineState, LoadState
from app.registry.queries import engine_view
from app.settings import EngineKind, Settings, get_settings
from workers.celery_app import app
from workers.engines import Engine, EngineAway, EngineInfo
from workers.openai_engine import OpenAIEngine
from workers.replies import EngineReplyError

log = structlog.get_logger()


@app.task(name=Job.RECONCILE_SERVING.value)
def reconcile_serving() -> None:
    """Probe and reconcile once, unless somebody is at it."""
    with alone() as mine:
        if mine:
            asyncio.run(reconcile(get_settings()))
        else:
            log.info("reconcile_left_to_another")


@contextmanager
def alone() -> Iterator[bool]:
    """Whether nobody else reconciles. The lock is the connection's, so it goes with a worker that is killed."""
    key = func.hashtextextended("serving.reconcile", 0)
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(select(func.pg_advisory_unlock(key)))


@dataclass(frozen=True)
class Wish:
    """One deployment in rotation; ``adapter`` is False for the base, which is there whenever the engine is."""

    deployment_id: int
    checkpoint_id: int
    name: str
    path: str
    manifest_sha256: str | None
    adapter: bool
    state: LoadState
    replaces: frozenset[int] = frozenset()
    """Deployments that leave once this one is loaded."""


async def reconcile(settings: Settings, engine: Engine | None = None) -> None:
    """Probe, unload what nobody wishes for, load what is missing, and only then call the engine ready.

    In this order an engine that was restarted is not sampled before its adapters are back: prompts would be answered by
    the base alone. An engine that is away is only noted.
    """
    engine = engine or OpenAIEngine(settings, connections=2)
    try:
        info = await engine.probe()
        wishes = await asyncio.to_thread(_wishes)
        await _unload(engine, info, wishes)
        served = await _load(settings, engine, info, wishes)
        await asyncio.to_thread(_note_ready, settings, info, served)
    except EngineAway as error:
        await asyncio.to_thread(_note_away, settings, str(error))
    finally:
        await engine.aclose()


async def _unload(engine: Engine, info: EngineInfo, wishes: list[Wish]) -> None:
    wanted = {wish.name for wish in wishes if wish.adapter}
    for name in sorted(info.adapters - wanted):
        try:
            await engine.unload_adapter(name)
            log.info("adapter_unloaded", name=name)
        except EngineReplyError as error:
            log.warning("adapter_not_unloaded", name=name, error=str(error))


async def _load(settings: Settings, engine: Engine, info: EngineInfo, wishes: list[Wish]) -> set[str]:
    """Load what is missing, as far as there is room; returns the adapters that are served now."""
    for wish in wishes:
        if not wish.adapter:
            await asyncio.to_thread(_loaded, wish)
    room = settings.engine_adapters if settings.engine_kind is EngineKind.VLLM else 0
    served = set(info.adapters)
    leaving = {replaced for wish in wishes for replaced in wish.replaces}
    # Those that are served come first, so that one too many waits instead of throwing another out; then the newest. What
    # is about to be replaced comes last: it must not hold the place of the one it waits for.
    adapters = sorted(
        (wish for wish in wishes if wish.adapter),
        key=lambda wish: (wish.deployment_id in leaving, wish.name not in served, -wish.deployment_id),
    )
    names = list(dict.fromkeys(wish.name for wish in adapters))[:room]
    there: set[str] = set()
    for wish in adapters:
        if wish.name in names:
            if wish.name in served or await _load_one(engine, wish):
                served.add(wish.name)
                there.add(wish.name)
                await asyncio.to_thread(_loaded, wish)
        elif wish.deployment_id in leaving and wish.name in served and room:
            there.add(wish.name)  # if the one that replaces it never loads, nothing has changed
        else:
            await asyncio.to_thread(_waiting, wish, room)
    return there


async def _load_one(engine: Engine, wish: Wish) -> bool:
    """Verify, then load: vLLM would take what it finds, and some of what it might find kills it."""
    try:
        await asyncio.to_thread(verify, Path(wish.path), manifest_sha256=wish.manifest_sha256)
    except BrokenCheckpoint as error:
        await asyncio.to_thread(_broken, wish, str(error))
        return False
    await asyncio.to_thread(_loading, wish)
    try:
        await engine.load_adapter(wish.name, wish.path)
    except EngineReplyError as error:
        await asyncio.to_thread(_failed, wish, str(error))
        return False
    return True


# ── Short transactions ───────────────────────────────────────────────────────────────────────────────────────────────
def _wishes() -> list[Wish]:
    with session_scope() as session:
        registry.ensure_rotation(session)
        return [
            Wish(
                deployment_id=deployment.id,
                checkpoint_id=deployment.checkpoint_id,
                name=deployment.checkpoint.name,
                path=deployment.checkpoint.path,
                manifest_sha256=deployment.checkpoint.manifest_sha256,
                adapter=deployment.checkpoint.kind is not CheckpointKind.BASE,
                state=deployment.load_state,
                replaces=frozenset(deployment.replaces),
            )
            for deployment in registry.in_rotation(session)
            if deployment.checkpoint.state is CheckpointState.READY
        ]


def _note_ready(settings: Settings, info: EngineInfo, served: set[str]) -> None:
    models = [{"id": info.base}, *({"id": name, "parent": info.base} for name in sorted(served))]
    with session_scope() as session:
        back = registry.note_engine(
            session, settings.engine_url, EngineState.READY, version=info.version, models=models
        )
        if back:
            enqueue(session, Job.GENERATE)
        if back or served - info.adapters:  # only then: a text whose model is missing rings for this in turn
            live.ring_for_waiting(session)


def _note_away(settings: Settings, error: str) -> None:
    """An engine that never answered is still starting; one that did has gone away."""
    with session_scope() as session:
        before = engine_view(session, settings.engine_url).state
        state = EngineState.STARTING if before is EngineState.STARTING else EngineState.AWAY
        registry.note_engine(session, settings.engine_url, state, error=error)


def _loaded(wish: Wish) -> None:
    with session_scope() as session:
        registry.mark_loaded(session, wish.deployment_id)


def _loading(wish: Wish) -> None:
    """Not sampled while it is not there: after an engine restart the row still said loaded."""
    if wish.state is LoadState.LOADED:
        with session_scope() as session:
            registry.mark_waiting(session, wish.deployment_id)


def _waiting(wish: Wish, room: int) -> None:
    reason = f"The engine has room for {room} adapters. Take another out of the rotation first."
    if not room:
        reason = "This endpoint serves its base model only. Adapters are loaded into vLLM (CORRAL_ENGINE_KIND)."
    with session_scope() as session:
        registry.mark_waiting(session, wish.deployment_id, reason)


def _failed(wish: Wish, reason: str) -> None:
    with session_scope() as session:
        registry.mark_failed(session, wish.deployment_id, reason)


def _broken(wish: Wish, reason: str) -> None:
    with session_scope() as session:
        registry.mark_broken(session, wish.checkpoint_id, reason)
