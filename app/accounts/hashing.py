"""Where passwords are hashed: in few threads of their own, behind a short line, and never ahead of the pages.

A hash takes 64 MiB and a twentieth of a second of every core on purpose, and anybody may ask for one. So

- strangers stand in a line (:data:`LINE`) before they take a thread or the database's turn, each address only so long a
  piece of it, and who finds it full is told to come back;
- hashes at a time are few, each in a process that the system runs after everything else (``app.accounts.argon``); the
  threads here only wait for it.
"""

from __future__ import annotations

import asyncio
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

from app.kernel.addresses import network
from app.kernel.errors import TooMany
from app.kernel.locales import gettext as _
from app.kernel.turns import Turns
from app.shell.web import client_address

Result = TypeVar("Result")

AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Hashes at a time: each keeps more than one core busy by itself."""
IN_LINE = 48
"""Strangers who sign in or wait for it, in all."""
IN_LINE_EACH = 32
"""Of those, from one address: a class behind one, that begins at the same minute, fits; nobody fills the line alone."""
SIGNED_IN = 8
"""People who are signed in and whose password is asked for again wait in their page's thread: no more than so many."""
REFUSED_SECONDS = 1.0
"""What a stranger waits who is refused, so that one who tries without end does not keep the pages busy with refusing."""
REFUSED_WAIT = 200
"""So many wait for that; the rest of a larger flood is told at once, and has its connections counted like everybody."""


class Left(TooMany):
    """Whoever waited for this turn has gone: nothing is hashed for them, and nobody is there to be held back."""


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
    """Strangers who want a password hashed: only as many at a time as there are threads for it."""

    def __init__(self, in_all: int = IN_LINE, each: int = IN_LINE_EACH) -> None:
        self._in_all, self._each = in_all, each
        self._turns = Turns("passwords", lambda: AT_ONCE)
        self._here: RunVar[Counter[str]] = RunVar("corral_sign_in_line")  # of each event loop its own
        self._refused = 0

    @contextlib.asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """A turn for somebody at ``address``; :class:`TooMany` at once when the line, or their piece of it, is full."""
        here = self._here.get(None)
        if here is None:
            here = Counter()
            self._here.set(here)
        who = network(address)
        try:
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
        except Left:
            raise
        except TooMany:
            await self._let_wait()
            raise

    async def _let_wait(self) -> None:
        """Hold back a refusal; it costs a sleeping task, and neither a place in the line nor a turn."""
        if self._refused < REFUSED_WAIT:
            self._refused += 1
            try:
                await asyncio.sleep(REFUSED_SECONDS)
            finally:
                self._refused -= 1


LINE = Line()


async def in_line(request: Request) -> AsyncIterator[None]:
    """The dependency of every door at which a stranger may have a password hashed; it stands before the session."""
    async with LINE.place(client_address(request)):
        if await request.is_disconnected():
            raise Left(_("You closed the connection before your turn came. Sign in again."))
        yield


InLine = Annotated[None, Depends(in_line, scope="function")]


def _too_many() -> TooMany:
    return TooMany(_("Many people are signing in right now. Try again in a few seconds."), retry_after=5)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, "passwords")
