"""Bytes that are made as fast as they can be and read as slowly as a client likes, with a file without a name between.

Whoever makes them holds a database connection, and holds it for as long as making takes: not for as long as somebody
reads. The file has no name, so nothing of it outlives its download, whatever ends first.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing
from tempfile import TemporaryFile
from typing import Self

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from fastapi.responses import StreamingResponse
from starlette.responses import Content
from starlette.types import Receive, Scope, Send

from app.settings import get_settings
from app.turns import Turns

PART_BYTES = 256 * 1024

MAKERS = Turns("downloads", lambda: max(1, get_settings().database_pool_size // 4))
"""Downloads that are made at once, out of the connections that pages never use."""
_threads: RunVar[CapacityLimiter] = RunVar("corral_download_threads")


class Spool:
    """One download. Use it as an asynchronous context manager; the maker stops at its end, wherever it is."""

    def __init__(self, make: Callable[[], Generator[bytes]]) -> None:
        self._make = make
        self._gone = threading.Event()
        self._size = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()
        folder = get_settings().data_dir  # /tmp may be memory
        folder.mkdir(parents=True, exist_ok=True)
        turn = await MAKERS.take()
        try:
            self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed when both sides are done with it
        except BaseException:
            turn.give_back()
            raise
        self._maker = asyncio.create_task(anyio.to_thread.run_sync(self._fill, limiter=_own_threads()))
        self._maker.add_done_callback(lambda _: turn.give_back())
        self._maker.add_done_callback(lambda _: self._grown.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        if self._maker.done():
            self._close(self._maker)
        else:  # between two chunks it sees that nobody wants the rest; who left does not wait for that
            self._maker.add_done_callback(self._close)

    async def parts(self) -> AsyncIterator[bytes]:
        """The bytes as they come; what the maker raised is raised where they end."""
        at = 0
        while True:
            self._grown.clear()
            done = self._maker.done()  # asked before the size: what was written before the end is then seen
            if at < self._size:
                part = await asyncio.to_thread(os.pread, self._file.fileno(), PART_BYTES, at)
                at += len(part)
                yield part
            elif done:
                await self._maker
                return
            else:
                await self._grown.wait()

    def _fill(self) -> None:
        with closing(self._make()) as chunks:
            for chunk in chunks:
                rest = memoryview(chunk)
                while rest:
                    written = self._file.write(rest)
                    rest = rest[written:]
                    self._size += written
                self._loop.call_soon_threadsafe(self._grown.set)
                if self._gone.is_set():
                    return

    def _close(self, maker: asyncio.Task[None]) -> None:
        self._file.close()
        if not maker.cancelled():
            maker.exception()  # nobody is left to hear of it


class Download(StreamingResponse):
    """A file that is made while it is read.

    It has the first part in hand before it says that all is well: a database that is away is answered with a status.
    """

    def __init__(self, name: str, make: Callable[[], Generator[bytes]], media_type: str) -> None:
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
            "content-encoding": "identity",  # compressing costs more than the network of those who export this much
        }
        super().__init__((), media_type=media_type, headers=headers)
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        async with Spool(self._make) as spool:
            parts = spool.parts()
            first = await anext(parts, b"")

            async def all_parts() -> AsyncIterator[Content]:
                yield first
                async for part in parts:
                    yield part

            self.body_iterator = all_parts()
            await super().__call__(scope, receive, send)


def _own_threads() -> CapacityLimiter:
    """Apart from those of pages, and bounded by the turns: pages never wait for a thread that makes a download."""
    threads = _threads.get(None)
    if threads is None:
        threads = CapacityLimiter(float("inf"))
        _threads.set(threads)
    return threads
