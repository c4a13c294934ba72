"""The reconciler: probe every engine, and make what they serve equal to the desired state in the database.

Engines load an adapter by themselves when they are asked for it by name. What is left to do here is what nobody else can:
verify an adapter and put it where they find it (:mod:`app.registry.served`), ask each of them for one token under its name, and
call it loaded once all that are there have answered as that adapter.

It runs every few seconds and after each change, and starts from what the engines say they serve: one that was restarted is
simply one that serves nothing yet. One at a time is enough. An engine that hangs holds each up for a minute, and more of them
would soon hold every thread of the control worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.candidates import live
from app.kernel.db import get_engine, session_scope
from app.kernel.jobs import Job, enqueue
from app.kernel.settings import EngineKind, Settings, get_settings
from app.kernel.store import StoreAway
from app.registry import files as checkpoint_files
from app.registry import served as served_files
from app.registry import service as registry
from app.registry.manifest import BrokenCheckpoint
from app.registry.models import CheckpointState, EngineState, External, LoadState, LoopRole
from app.registry.queries import engine_view
from app.rounds import queries as rounds
from workers.celery_app import app
from workers.engines import sleeping
from workers.engines.addresses import engines, place_of
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
    folder: Path
    manifest_sha256: str | None
    adapter: bool
    state: LoadState
    replaces: frozenset[int] = frozenset()
    """Deployments that leave once this one is loaded."""
    external: External | None = None
    """Somebody else serves it: it is asked for a token while it is not known to answer, and never loaded."""
    needed: bool = False
    """Whether it is the champion or the challenger: where there is no room for all, the others wait."""


@dataclass(frozen=True)
class Probed:
    """One engine: what a probe found, or why it is away."""

    address: str
    engine: Engine
    info: EngineInfo | None = None
    error: str = ""


async def reconcile(settings: Settings) -> None:
    """Probe, withdraw what nobody wants, publish what is missing, and only then call the engines ready.

    In this order one that was restarted is not sampled before its adapters are back: people would wait for them. An engine
    that is away is only noted: the others answer, and it finds what it missed when it is back.
    """
    await _wake_forgotten(settings)
    probed = [Probed(each, engine_at(settings, each)) for each in await engines(settings)]
    try:
        probed = _alike(await asyncio.gather(*map(_probe, probed)))
        there = {each.address: each for each in probed if each.info is not None}
        if there:
            desired = await asyncio.to_thread(_desired)
            await _ask_externals(settings, desired)
            await _withdraw(settings, probed, desired)
            served = await _load(settings, there, desired)
            await asyncio.to_thread(_note_ready, settings, there, served)
        await asyncio.to_thread(_note_each, settings, probed, there)
    finally:
        for each in probed:
            await each.engine.aclose()


async def _wake_forgotten(settings: Settings) -> None:
    """Wake engines that sleep for a training whose worker was killed. Those of one that goes on were told to after it began."""
    if settings.engine_sleeps and await sleeping.any_sleeps(settings) and not await asyncio.to_thread(_in_training):
        for address, error in (await sleeping.tell(settings, sleeping.WAKE)).items():
            log.warning("engine_not_woken", engine=address, error=error)


def engine_at(settings: Settings, address: str) -> Engine:
    """The client of one of the engines."""
    return OpenAIEngine(settings.model_copy(update={"engine_url": address, "engine_urls": ""}), connections=2)


async def _probe(each: Probed) -> Probed:
    try:
        return replace(each, info=await each.engine.probe())
    except EngineAway as error:
        return replace(each, error=str(error))


def _alike(probed: list[Probed]) -> list[Probed]:
    """The same, but that none is there where they serve different models: an answer could be any one's."""
    roots = sorted({each.info.root for each in probed if each.info is not None and each.info.root})
    if len(roots) < 2:
        return probed
    error = f"The engines serve different models ({', '.join(roots)}): start all with the same --model."
    return [each if each.info is None else replace(each, info=None, error=error) for each in probed]


async def _withdraw(settings: Settings, probed: list[Probed], desired: list[Desired]) -> None:
    """Unload what nobody wants; its files go once no engine serves it, for vLLM ends where it looks for them in vain."""
    wanted = {each.name for each in desired if each.adapter}
    for each in probed:
        for name in sorted((each.info.adapters if each.info else frozenset()) - wanted):
            try:
                await each.engine.unload_adapter(name)
                log.info("adapter_unloaded", name=name, engine=each.address)
            except (EngineReplyError, EngineAway) as error:
                log.warning("adapter_not_unloaded", name=name, engine=each.address, error=str(error))
    served = {name for each in probed if each.info for name in each.info.adapters}
    if all(each.info for each in probed):
        for name in served_files.published(settings.served_dir) - wanted - served:
            await asyncio.to_thread(served_files.withdraw, settings.served_dir, name)


async def _load(settings: Settings, there: dict[str, Probed], desired: list[Desired]) -> set[str]:
    """Bring in what is missing, as far as there is room; returns the adapters that are served now."""
    for each in desired:
        if not each.adapter and each.external is None:
            await asyncio.to_thread(_loaded, each)
    room = settings.engine_adapters if settings.engine_kind is EngineKind.VLLM else 0
    served = set.intersection(*(set(one.info.adapters) for one in there.values() if one.info))
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
    loaded: set[str] = set()
    for each in adapters:
        if each.name in names:
            if each.name in served or await _load_one(settings, there, each):
                served.add(each.name)
                loaded.add(each.name)
                await asyncio.to_thread(_loaded, each)
        elif each.deployment_id in leaving and each.name in served and room:
            loaded.add(each.name)  # if the one that replaces it never loads, nothing has changed
        else:
            await asyncio.to_thread(_waiting, each, room)
    return loaded


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


async def _load_one(settings: Settings, there: dict[str, Probed], each: Desired) -> bool:
    """Verify, publish, and let every engine that is there answer under the name; whether all did."""
    base = next((one.info.root for one in there.values() if one.info and one.info.root), settings.base_model_path)
    publish = partial(served_files.publish, manifest_sha256=each.manifest_sha256, base=base)
    try:
        await asyncio.to_thread(checkpoint_files.fetch, each.folder, each.manifest_sha256)
        await asyncio.to_thread(publish, settings.served_dir, each.name, each.folder)
    except BrokenCheckpoint as error:
        await asyncio.to_thread(_broken, each, str(error))
        return False
    except (served_files.NotPublished, StoreAway, OSError) as error:
        await asyncio.to_thread(_failed, each, str(error))
        return False
    without = [one for one in there.values() if one.info and each.name not in one.info.adapters]
    said = await asyncio.gather(*(_answers_as(one, each.name) for one in without))
    if refused := [why for why in said if why]:
        await asyncio.to_thread(_failed, each, " ".join(refused))
    return not refused and ("" in said or len(without) < len(there))


async def _answers_as(one: Probed, name: str) -> str | None:
    """Why an engine does not answer as an adapter; empty where it does, None where it has gone away meanwhile."""
    try:
        await one.engine.serves(name)
    except EngineReplyError as error:
        return f"The engine at {place_of(one.address)} does not serve it: {error}{_hint(str(error))}"
    except EngineAway:
        return None
    return ""


def _hint(said: str) -> str:
    if "does not exist" not in said:
        return ""
    return (
        " Start it with VLLM_PLUGINS=lora_filesystem_resolver, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and "
        "VLLM_LORA_RESOLVER_CACHE_DIR, the folder “served” of the data folder as it sees it."
    )


# ── Short transactions ───────────────────────────────────────────────────────────────────────────────────────────────
def _in_training() -> bool:
    with session_scope() as session:
        return rounds.in_training(session)


def _desired() -> list[Desired]:
    with session_scope() as session:
        registry.ensure_rotation(session)
        needed = {registry.appointed(session, role) for role in (LoopRole.CHAMPION, LoopRole.CHALLENGER)}
        return [
            Desired(
                deployment_id=deployment.id,
                checkpoint_id=deployment.checkpoint_id,
                name=deployment.checkpoint.name,
                folder=deployment.checkpoint.folder,
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


def _note_ready(settings: Settings, there: dict[str, Probed], served: set[str]) -> None:
    infos = [each.info for each in there.values() if each.info]
    models = [{"id": infos[0].base}, *({"id": name, "parent": infos[0].base} for name in sorted(served))]
    known = frozenset.intersection(*(each.adapters for each in infos))
    with session_scope() as session:
        back = registry.note_engine(
            session, settings.engine_url, EngineState.READY, version=infos[0].version, models=models
        )
        if back:
            enqueue(session, Job.GENERATE)
        if back or served - known:  # only then: a text whose model is missing rings for this in turn
            live.ring_for_waiting(session)


def _note_each(settings: Settings, probed: list[Probed], there: dict[str, Probed]) -> None:
    """Note each engine where there are several, and all of them together where none is there."""
    with session_scope() as session:
        registry.forget_engines(session, {settings.engine_url, *(each.address for each in probed)})
        for each in probed:
            if each.address == settings.engine_url:
                continue  # the one of all is its own
            if each.info is None:
                _note_away(session, each.address, each.error)
            else:
                models = [{"id": name} for name in sorted(each.info.adapters)]
                registry.note_engine(session, each.address, EngineState.READY, version=each.info.version, models=models)
        if not there:
            _note_away(session, settings.engine_url, " ".join(dict.fromkeys(each.error for each in probed)))


def _note_away(session: Session, url: str, error: str) -> None:
    """An engine that never answered is still starting; one that did has gone away."""
    before = engine_view(session, url).state
    state = EngineState.STARTING if before is EngineState.STARTING else EngineState.AWAY
    registry.note_engine(session, url, state, error=error)


def _loaded(each: Desired) -> None:
    with session_scope() as session:
        registry.mark_loaded(session, each.deployment_id)


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
