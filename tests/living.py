"""What tests of live generation share: a text that somebody asked for, a worker that writes it, and who reads it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.accounts.models import User
from app.candidates import live, live_events
from app.candidates.live import LiveClaim, Written
from app.candidates.models import LiveGeneration, LiveKind
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.services.embedded import Valkey, poll
from tests.factories import make_batch, make_deployment, make_prompt
from tests.patience import PATIENCE
from workers.engines.openai import OpenAIEngine
from workers.tasks import live as worker


@contextmanager
def listening(valkey: Valkey) -> Iterator[subprocess.Popen[bytes]]:
    """A real broker, for as long as it is wanted."""
    valkey.prepare()
    process = subprocess.Popen(valkey.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert any(valkey.ready() for _ in poll(PATIENCE))
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


async def run(generation_id: int, settings: Settings) -> bool:
    """One text, as the worker writes it, over connections of its own."""
    engine = OpenAIEngine(settings)
    try:
        return await worker.run(generation_id, engine)
    finally:
        await engine.aclose()


def asked(user: User, key: str = "k1", model: str = "zebra-base", **values: Any) -> LiveGeneration:
    """A queued generation of ``user``."""
    with session_scope() as session:
        deployment = make_deployment(session, model)
        session.refresh(deployment, ["checkpoint"])
        prompt = make_prompt(session, make_batch(session))
        given: dict[str, Any] = {
            "max_tokens": 64,
            "request_key": key,
            "messages": prompt.messages,
            "asked": key,
        } | values
        return live.request(session, user, prompt_id=prompt.id, kind=LiveKind.REVISION, deployment=deployment, **given)


def row(generation: LiveGeneration) -> LiveGeneration:
    with session_scope() as session:
        return session.get_one(LiveGeneration, generation.id)


def parsed(event: bytes) -> tuple[str, dict[str, Any], str]:
    """Kind, data and id."""
    lines = dict(line.split(": ", 1) for line in event.decode().splitlines() if line)
    return lines["event"], json.loads(lines["data"]), lines.get("id", "")


def followed(user: User, generation: LiveGeneration, last_event_id: str = "") -> list[tuple[str, dict[str, Any]]]:
    """All events until it is finished."""

    async def read() -> list[tuple[str, dict[str, Any]]]:
        return [parsed(event)[:2] async for event in live_events.follow(user, generation.id, last_event_id)]

    return asyncio.run(read())


def snapshot(generation: LiveGeneration) -> live_events.Snapshot:
    with session_scope() as session:
        return live_events.shown(session, session.get_one(LiveGeneration, generation.id))


def entries(generation: LiveGeneration) -> list[live_stream.Entry]:
    """What lies in the stream."""

    async def read() -> list[live_stream.Entry]:
        return await anext(live_stream.follow(generation.id, wait=0.05))

    return asyncio.run(read())


@dataclass
class Pen:
    """A worker in slow motion: it holds a row, and every piece is written when a test says so."""

    held: LiveClaim
    text: str = ""

    @classmethod
    def takes(cls, generation: LiveGeneration) -> Pen:
        """Claim ``generation``."""
        with session_scope() as session:
            held = live.claim(session, generation.id)
        assert held is not None
        return cls(held)

    def write(self, *pieces: str) -> None:
        """Pass pieces into the stream."""
        for piece in pieces:
            at, self.text = len(self.text), self.text + piece
            live_stream.publish(self.held.id, "text", piece, number=self.held.fencing_token, at=at)

    def note(self) -> None:
        """Note in the row what was written."""
        with session_scope() as session:
            assert live.note_progress(session, self.held, self.text)

    def finish(self) -> None:
        """Record the whole."""
        with session_scope() as session:
            live.finish(session, self.held, Written(self.text, "stop", 1, 1, {}, ""), stopped=False)


@dataclass
class Browser:
    """What a page has of a text: as ``static/js/live.js`` puts it together."""

    text: str = ""
    last_event_id: str = ""
    ended: bool = False

    def gets(self, event: bytes) -> str:
        """Take one event; returns its kind."""
        kind, said, name = parsed(event)
        self.last_event_id = name or self.last_event_id
        if kind == "reset":
            self.text = ""
        if kind == "text":
            self.text += said["text"]
        if kind == "end":
            assert said["text"].startswith(self.text), "what was shown is not what was written"
            self.text, self.ended = said["text"], True
        return kind
