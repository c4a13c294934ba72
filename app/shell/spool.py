"""Bytes that are made as fast as they can be and read as slowly as a client likes, with a file without a name between.

Whoever makes them holds a database connection, and holds it for as long as making takes: not for as long as somebody
reads. The file has no name, so nothing of it outlives its download, whatever ends first.
"""

from __future__ import annotations

import asyncio
import os
import shutil
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

from app.kernel.errors import Unavailable
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.kernel.turns import Turns

PART_BYTES = 256 * 1024

MAKERS = Turns("downloads", lambda: max(1, get_settings().database_pool_size // 4))
"""Downloads that are made at once, out of the connections that pages never use."""
_threads: RunVar[CapacityLimiter] = RunVar("corral_download_threads")


class Shelf:
    """What the files of all downloads are together, until their clients have read them or left: so many, and so large."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # pages open files, threads of makers fill them
        self.files = 0
        self.bytes = 0

    def open(self) -> None:
        """A further file; :class:`Unavailable` where there are too many, or no room."""
        with self._lock:
            if self.files >= get_settings().downloads:
                raise Unavailable(_("Too many downloads are in progress. Try again in a minute."), retry_after=60)
            self._see_room(1)
            self.files += 1

    def grow(self, size: int) -> None:
        """A file of it grows; :class:`Unavailable` where there is no room for that."""
        with self._lock:
            self._see_room(size)
            self.bytes += size

    def close(self, size: int) -> None:
        """A file of this size goes."""
        with self._lock:
            self.files -= 1
            self.bytes -= size

    def _see_room(self, more: int) -> None:
        free = shutil.disk_usage(get_settings().data_dir).free
        if self.bytes + more > get_settings().downloads_disk_share * (free + self.bytes):
            said = _(
                "Downloads in progress use all the disk space allowed for them. Try again in a minute; if this "
                "continues, ask the server's operator to make room in the data folder."
            )
            raise Unavailable(said, retry_after=60)


SHELF = Shelf()


class Spool:
    """One download. Use it as an asynchronous context manager; the maker stops at its end, wherever it is."""

    def __init__(self, make: Callable[[], Generator[bytes]]) -> None:
        self._make = make
        self._gone = threading.Event()
        self._size = 0
        self._taken = 0  # of the shelf; a full disk may hold less

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()
        folder = get_settings().data_dir  # /tmp may be memory
        folder.mkdir(parents=True, exist_ok=True)
        SHELF.open()
        try:
            turn = await MAKERS.take()
            try:
                self._file = TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed when both sides are done with it
            except BaseException:
                turn.give_back()
                raise
        except BaseException:
            SHELF.close(0)
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
                SHELF.grow(len(rest))
                self._taken += len(rest)
                while rest:
                    written = self._file.write(rest)
                    rest = rest[written:]
                    self._size += written
                self._loop.call_soon_threadsafe(self._grown.set)
                if self._gone.is_set():
                    return

    def _close(self, maker: asyncio.Task[None]) -> None:
        self._file.close()
        SHELF.close(self._taken)
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
