"""The reconciler: probe the engine, and make its adapters equal to the desired state in the database.

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
from app.kernel.db import get_engine, session_scope
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import EngineKind, Settings, get_settings
from app.registry import service as registry
from app.registry.manifest import BrokenCheckpoint, verify
from app.registry.models import CheckpointState, EngineState, External, LoadState, LoopRole
from app.registry.queries import engine_view
from workers.celery_app import app
from workers.engines.external import external_engine
from workers.engines.openai import OpenAIEngine
from workers.engines.protocol import Engine, EngineAway, EngineInfo
from workers.engines.replies import EngineReplyError

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
class Desired:
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
    external: External | None = None
    """Somebody else serves it: it is asked for a token while it is not known to answer, and never loaded."""
    needed: bool = False
    """Whether it is the champion or the challenger: where there is no room for all, the others wait."""


async def reconcile(settings: Settings, engine: Engine | None = None) -> None:
    """Probe, unload what nobody wants, load what is missing, and only then call the engine ready.

    In this order an engine that was restarted is not sampled before its adapters are back: prompts would be answered by
    the base alone. An engine that is away is only noted.
    """
    engine = engine or OpenAIEngine(settings, connections=2)
    try:
        info = await engine.probe()
        desired = await asyncio.to_thread(_desired)
        await _ask_externals(settings, desired)
        await _unload(engine, info, desired)
        served = await _load(settings, engine, info, desired)
        await asyncio.to_thread(_note_ready, settings, info, served)
    except EngineAway as error:
        await asyncio.to_thread(_note_away, settings, str(error))
    finally:
        await engine.aclose()


async def _unload(engine: Engine, info: EngineInfo, desired: list[Desired]) -> None:
    wanted = {each.name for each in desired if each.adapter}
    for name in sorted(info.adapters - wanted):
        try:
            await engine.unload_adapter(name)
            log.info("adapter_unloaded", name=name)
        except EngineReplyError as error:
            log.warning("adapter_not_unloaded", name=name, error=str(error))


async def _load(settings: Settings, engine: Engine, info: EngineInfo, desired: list[Desired]) -> set[str]:
    """Load what is missing, as far as there is room; returns the adapters that are served now."""
    for each in desired:
        if not each.adapter and each.external is None:
            await asyncio.to_thread(_loaded, each)
    room = settings.engine_adapters if settings.engine_kind is EngineKind.VLLM else 0
    served = set(info.adapters)
    leaving = {replaced for each in desired for replaced in each.replaces}
    # Champion and challenger come first; then those that are served, so that one too many waits instead of throwing another
    # out; then the newest. What is about to be replaced comes last: it must not hold the place of the one it waits for.
    adapters = sorted(
        (each for each in desired if each.adapter),
        key=lambda each: (
            each.deployment_id in leaving,
            not each.needed,
            each.name not in served,
            -each.deployment_id,
        ),
    )
    names = list(dict.fromkeys(each.name for each in adapters))[:room]
    there: set[str] = set()
    for each in adapters:
        if each.name in names:
            if each.name in served or await _load_one(engine, each):
                served.add(each.name)
                there.add(each.name)
                await asyncio.to_thread(_loaded, each)
        elif each.deployment_id in leaving and each.name in served and room:
            there.add(each.name)  # if the one that replaces it never loads, nothing has changed
        else:
            await asyncio.to_thread(_waiting, each, room)
    return there


async def _ask_externals(settings: Settings, desired: list[Desired]) -> None:
    """See whether those that were not there answer now. One that is, is not asked: every token of theirs is paid for."""
    waiting = [(each, each.external) for each in desired if each.external and each.state is not LoadState.LOADED]
    await asyncio.gather(*(_ask_one(settings, each, external) for each, external in waiting))


async def _ask_one(settings: Settings, each: Desired, external: External) -> None:
    try:
        engine = external_engine(settings, external.endpoint, external.model)
        try:
            await engine.probe()
        finally:
            await engine.aclose()
    except EngineAway as error:
        await asyncio.to_thread(_failed, each, str(error))
    else:
        await asyncio.to_thread(_loaded, each)


async def _load_one(engine: Engine, each: Desired) -> bool:
    """Verify, then load: vLLM would take what it finds, and some of what it might find kills it."""
    try:
        await asyncio.to_thread(verify, Path(each.path), manifest_sha256=each.manifest_sha256)
    except BrokenCheckpoint as error:
        await asyncio.to_thread(_broken, each, str(error))
        return False
    await asyncio.to_thread(_loading, each)
    try:
        await engine.load_adapter(each.name, each.path)
    except EngineReplyError as error:
        await asyncio.to_thread(_failed, each, str(error))
        return False
    return True


# ── Short transactions ───────────────────────────────────────────────────────────────────────────────────────────────
def _desired() -> list[Desired]:
    with session_scope() as session:
        registry.ensure_rotation(session)
        needed = {registry.appointed(session, role) for role in (LoopRole.CHAMPION, LoopRole.CHALLENGER)}
        return [
            Desired(
                deployment_id=deployment.id,
                checkpoint_id=deployment.checkpoint_id,
                name=deployment.checkpoint.name,
                path=deployment.checkpoint.path,
                manifest_sha256=deployment.checkpoint.manifest_sha256,
                adapter=deployment.checkpoint.is_adapter,
                external=deployment.checkpoint.external,
                state=deployment.load_state,
                replaces=frozenset(deployment.replaces),
                needed=deployment.checkpoint in needed,
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


def _loaded(each: Desired) -> None:
    with session_scope() as session:
        registry.mark_loaded(session, each.deployment_id)


def _loading(each: Desired) -> None:
    """Not sampled while it is not there: after an engine restart the row still said loaded."""
    if each.state is LoadState.LOADED:
        with session_scope() as session:
            registry.mark_waiting(session, each.deployment_id)


def _waiting(each: Desired, room: int) -> None:
    reason = f"The engine has room for {room} adapters. Remove another from the rotation first."
    if not room:
        reason = "This endpoint serves its base model only. Only vLLM loads adapters (CORRAL_ENGINE_KIND)."
    with session_scope() as session:
        registry.mark_waiting(session, each.deployment_id, reason)


def _failed(each: Desired, reason: str) -> None:
    with session_scope() as session:
        registry.mark_failed(session, each.deployment_id, reason)


def _broken(each: Desired, reason: str) -> None:
    with session_scope() as session:
        registry.mark_broken(session, each.checkpoint_id, reason)
