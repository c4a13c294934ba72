"""How many may do a thing at once. Waiting happens on the event loop, never in a thread, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anyio.lowlevel import RunVar

from app.kernel.errors import Unavailable
from app.kernel.locales import gettext as _

PATIENCE = 10
"""Seconds that a request waits for its turn before it is told to come back."""


class _Seats(asyncio.Semaphore):
    @property
    def free(self) -> int:
        return self._value


class Turns:
    """A share of something scarce: ``size()`` turns in each event loop, handed out in the order of asking."""

    def __init__(self, name: str, size: Callable[[], int]) -> None:
        self._size = size
        self._seats: RunVar[_Seats] = RunVar(f"corral_turns_{name}")  # of each event loop its own

    async def take(self) -> Turn:
        """A turn, for the caller to give back.

        Raises:
            Unavailable: none came within ``PATIENCE`` seconds.
        """
        turn = Turn(self._here())
        await turn.take()
        return turn

    def free(self) -> int:
        """How many turns nobody holds at this moment, in this event loop."""
        return self._here().free

    def _here(self) -> _Seats:
        seats = self._seats.get(None)
        if seats is None:
            seats = _Seats(self._size())
            self._seats.set(seats)
        return seats


class Turn:
    """One turn. Giving it back twice does nothing, so that whoever notices an end first may do it."""

    def __init__(self, seats: _Seats) -> None:
        self._seats = seats
        self._held = False

    async def take(self) -> None:
        """Wait for it, also again after it was given back; see :meth:`Turns.take`."""
        if self._seats.locked():
            await self._wait()
        else:
            await self._seats.acquire()  # one is free, so this does not wait and needs no timer
        self._held = True

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._seats.acquire()
        except TimeoutError:
            raise Unavailable(_("Too many requests at once. Nothing was stored; try again."), retry_after=5) from None

    def give_back(self) -> None:
        """Let the next one have it; on the event loop only."""
        if self._held:
            self._held = False
            self._seats.release()
