"""Where passwords are hashed: in few threads of their own, behind a short line, and never ahead of the pages.

A hash takes 64 MiB and a twentieth of a second of every core on purpose, and anybody may ask for one. So

- strangers stand in a line (:data:`LINE`) before they take a thread or the database's turn, each address only so long a
  piece of it, and who finds it full is told to come back;
- the threads that hash are few, and the system runs them after everything else that wants the processor.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Annotated, TypeVar

from anyio.lowlevel import RunVar
from fastapi import Depends, Request

from app.addresses import network
from app.errors import TooMany
from app.turns import Turns
from app.web import client_address

Result = TypeVar("Result")

AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Hashes at a time: each keeps more than one core busy by itself."""
IN_LINE = 48
"""Strangers who sign in or wait for it, in all."""
IN_LINE_EACH = 32
"""Of those, from one address: a class behind one, that begins at the same minute, fits; nobody fills the line alone."""
SIGNED_IN = 8
"""People who are signed in and whose password is asked for again wait in their page's thread: no more than so many."""
NICE = 10

_seats = threading.BoundedSemaphore(AT_ONCE + SIGNED_IN)


def run(work: Callable[[], Result]) -> Result:
    """What ``work`` gives, which hashes; :class:`TooMany` when too many wait for that."""
    if not _seats.acquire(blocking=False):
        raise _too_many()
    try:
        return _threads().submit(work).result()
    finally:
        _seats.release()


class Line:
    """Strangers who want a password hashed: a few at a time go on, as many as there are threads for it."""

    def __init__(self, in_all: int = IN_LINE, each: int = IN_LINE_EACH) -> None:
        self._in_all, self._each = in_all, each
        self._turns = Turns("passwords", lambda: AT_ONCE)
        self._here: RunVar[Counter[str]] = RunVar("corral_sign_in_line")  # of each event loop its own

    @contextlib.asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """A turn for somebody at ``address``; :class:`TooMany` at once when the line, or their piece of it, is full."""
        here = self._here.get(None)
        if here is None:
            here = Counter()
            self._here.set(here)
        who = network(address)
        if here.total() >= self._in_all or here[who] >= self._each:
            raise _too_many()
        here[who] += 1
        try:
            turn = await self._turns.take()
            try:
                yield
            finally:
                turn.give_back()
        finally:
            here[who] -= 1
            if not here[who]:
                del here[who]


LINE = Line()


async def in_line(request: Request) -> AsyncIterator[None]:
    """The dependency of every door at which a stranger may have a password hashed; it stands before the session."""
    async with LINE.place(client_address(request)):
        yield


InLine = Annotated[None, Depends(in_line, scope="function")]


def _too_many() -> TooMany:
    return TooMany("Many people are signing in at this moment. Try again in a few seconds.", retry_after=5)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "passwords", initializer=_step_back)


def _step_back() -> None:
    """On Linux a thread has a niceness of its own, and those that argon2 starts inherit it."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
