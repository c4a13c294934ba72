"""Text on its way to a browser: one Valkey stream for each live generation, written by a worker and read by the web server.

It is a convenience, not the ledger: entries are ``text`` (a piece), ``reset`` (another worker began anew), ``wait`` (the engine
is away) and ``end`` (look at the row). A piece says where it belongs, so that who reads sees whether something is missing: what
is older than an hour is forgotten, and a broker may lose everything. That costs smoothness only: the page then reads the row.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings

log = structlog.get_logger()

KEPT_SECONDS = 3600
PAUSE_SECONDS = 5.0
"""Circuit breaker: seconds without publishing after a failure, so that a hung broker does not stall every token."""
START = "0-0"


class StreamAway(Exception):
    """The broker does not answer."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened: its id in the stream, what, and the piece of text with its place."""

    id: str
    kind: str
    text: str
    number: int
    """The try that wrote it: the fencing token of its worker, and 0 of what no worker said."""
    at: int
    """The character of the text at which the piece begins."""


def key_of(generation_id: int) -> str:
    """The stream's key."""
    return f"corral:live:{generation_id}"


def is_possible() -> bool:
    """Whether the broker speaks this protocol at all; an in-memory one of a test does not."""
    return get_settings().broker_url.startswith(("redis://", "rediss://", "unix://"))


_away_until: dict[str, float] = {}


@lru_cache(maxsize=4)
def _writer(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, health_check_interval=30)


def publish(generation_id: int, kind: str, text: str = "", *, number: int = 0, at: int = 0) -> None:
    """Append one entry; a broker that is away is noted in the log and nothing else."""
    url = get_settings().broker_url
    if not is_possible() or time.monotonic() < _away_until.get(url, 0):
        return
    key = key_of(generation_id)
    try:
        with _writer(url).pipeline(transaction=False) as pipe:
            pipe.xadd(key, {"kind": kind, "text": text, "number": number, "at": at}, maxlen=100_000)
            pipe.expire(key, KEPT_SECONDS)
            pipe.execute()
    except RedisError as error:
        _away_until[url] = time.monotonic() + PAUSE_SECONDS
        log.warning("live_stream_away", error=str(error))


def announce(session: Session, generation_id: int, kind: str) -> None:
    """Append one entry after the outer commit of ``session``: who looks at the row then sees what it is about."""
    pending: dict[tuple[int, str], None] = session.info.setdefault("live_entries", {})
    pending[generation_id, kind] = None


@event.listens_for(Session, "after_commit")
def _publish(session: Session) -> None:
    for generation_id, kind in session.info.pop("live_entries", {}):
        publish(generation_id, kind)


@event.listens_for(Session, "after_rollback")
def _drop(session: Session) -> None:
    session.info.pop("live_entries", None)


async def follow(generation_id: int, after: str = START, *, wait: float = 5.0) -> AsyncGenerator[list[Entry]]:
    """Entries after the id ``after``, as they come; an empty list after each ``wait`` seconds of silence.

    Raises:
        StreamAway: the broker does not answer, or speaks another protocol.
    """
    if not is_possible():
        raise StreamAway
    # one connection for each who waits, given back when the browser goes
    client = redis.asyncio.Redis.from_url(get_settings().broker_url, socket_timeout=wait + 5, socket_connect_timeout=2)
    key = key_of(generation_id)
    try:
        while True:
            found = cast("Any", await client.xread({key: after}, block=int(wait * 1000), count=200))
            streams = found.values() if isinstance(found, dict) else [entries for _, entries in found or []]
            entries = [_entry(*each) for stream in streams for each in _flat(stream)]
            if entries:
                after = entries[-1].id
            yield entries
    except (RedisError, OSError) as error:
        raise StreamAway(str(error)) from error
    finally:
        await client.aclose()


def _flat(stream: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """RESP3 nests the entries once more than RESP2 does."""
    if stream and isinstance(stream[0], list) and stream[0] and isinstance(stream[0][0], list | tuple):
        return [each for inner in stream for each in inner]
    return list(stream)


def _entry(name: bytes, values: dict[bytes, bytes]) -> Entry:
    kind, text = values[b"kind"].decode(), values[b"text"].decode()
    return Entry(name.decode(), kind, text, number=int(values[b"number"]), at=int(values[b"at"]))
