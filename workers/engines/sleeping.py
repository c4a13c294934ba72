"""Has the engines sleep while a training uses their GPU, and wakes them (vLLM's sleep mode).

An engine that sleeps has given its memory back, its weights in the host's. It finishes what it is answering before, and lets
what it is asked meanwhile wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.kernel.settings import Settings
from workers.engines.addresses import engines
from workers.engines.protocol import EngineAway, ModelMissing, PromptRefused
from workers.engines.replies import EngineReplyError, parse_object
from workers.engines.wire import Doubt, Wire

SLEEP, WAKE, SLEEPS = "../sleep?level=1&mode=wait", "../wake_up", "../is_sleeping"
DEADLINES = {SLEEP: 180.0, WAKE: 25.0}
"""Seconds for what it is answering to end, and for its weights to be copied; while they wake it no worker reports."""
LOOK = 10.0
FAILED = (EngineAway, EngineReplyError, ModelMissing, PromptRefused, Doubt)
"""All that an exchange may end in."""


async def tell(settings: Settings, path: str) -> dict[str, str]:
    """Have every engine sleep or wake; what went wrong, by their addresses."""
    there = await engines(settings)
    said = await asyncio.gather(*(_tell(settings, each, path) for each in there))
    return {each: error for each, error in zip(there, said, strict=True) if error}


async def _tell(settings: Settings, address: str, path: str) -> str:
    wire = _wire(settings, address)
    try:
        await wire.exchange("POST", wire.url(path), None, DEADLINES[path])
    except FAILED as error:
        return str(error)
    finally:
        await wire.aclose()
    return ""


async def any_sleeps(settings: Settings) -> bool:
    """Whether one of the engines says that it sleeps."""
    return any(await asyncio.gather(*(_sleeps(settings, each) for each in await engines(settings))))


async def _sleeps(settings: Settings, address: str) -> bool:
    wire = _wire(settings, address)
    try:
        return await says_it_sleeps(wire)
    finally:
        await wire.aclose()


async def says_it_sleeps(wire: Wire) -> bool:
    """Whether the engine at the other end says so; one that cannot sleep does not."""
    with suppress(*FAILED):
        found = parse_object(await wire.exchange("GET", wire.url(SLEEPS), None, LOOK))
        return found.get("is_sleeping") is True
    return False


def _wire(settings: Settings, address: str) -> Wire:
    one = settings.model_copy(update={"engine_url": address, "engine_urls": ""})
    return Wire(one, 1, "CORRAL_ENGINE_API_KEY")
