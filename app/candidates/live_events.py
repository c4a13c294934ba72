"""What a page that follows a text is sent: server-sent events, made of the row and of the stream.

The row is the ledger and about a second old; the stream has every piece at once, and may be lost at any time: it runs out,
its broker is restarted or emptied. So each piece says of which try it is and at which character it begins. The events'
ids say the same of what the browser has (``try-characters``), and whatever the stream lacks comes from the row.

No database session is open between two looks at the row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy.orm import Session

from app.accounts import queries
from app.accounts.models import User
from app.candidates import live
from app.candidates.models import LiveGeneration, LiveState
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.live_stream import Entry, StreamAway
from app.kernel.locales import N_
from app.kernel.locales import gettext as _

LOOK_SECONDS = 1.0
"""Between two looks at the row while the stream is away, or lacks something: the row is written as often."""
LOOK_AGAIN_SECONDS = 5.0
"""Between two looks while text comes without a pause: for so long an account that was closed may go on reading."""
FINISHED = {LiveState.DONE, LiveState.STOPPED, LiveState.FAILED}
OURS = ("The prompt has ", "This prompt cannot be sent", live.GONE, live.UNWRITTEN)
FAILED = N_("The text could not be generated. Try again; if that fails too, tell an admin.")


@dataclass(frozen=True)
class Snapshot:
    """The row at one moment, as far as its user may know it."""

    id: int
    state: LiveState
    position: int
    text: str
    error: str | None


@dataclass(frozen=True)
class Event:
    """One event. ``number`` is the try that it is about, and ``name`` says what a browser has with it."""

    kind: str
    value: dict[str, Any]
    number: int = 0
    name: str = ""

    @property
    def sent(self) -> bytes:
        """As it goes over the line."""
        begin = f"id: {self.name}\n" if self.name else ""
        return f"{begin}event: {self.kind}\ndata: ".encode() + orjson.dumps(self.value) + b"\n\n"


def shown(session: Session, row: LiveGeneration) -> Snapshot:
    """What the user of ``row`` may know of it."""
    error = None
    if row.state is LiveState.FAILED:  # an engine's own words may name a model
        error = _(row.error if row.error and row.error.startswith(OURS) else FAILED)
    elif row.state is LiveState.QUEUED and row.error:
        error = _("The engine is unavailable right now; this continues when it is back.")
    return Snapshot(row.id, row.state, live.position(session, row), row.text, error)


async def follow(
    user: User, generation_id: int, last_event_id: str = "", lets_in: Callable[[Session], bool] | None = None
) -> AsyncGenerator[bytes]:
    """:func:`events` of a text that stands alone, as a browser is sent them."""
    async with aclosing(events(user, generation_id, last_event_id, lets_in)) as found:
        async for event in found:
            yield event.sent


async def events(
    user: User, generation_id: int, last_event_id: str = "", lets_in: Callable[[Session], bool] | None = None
) -> AsyncGenerator[Event]:
    """The events of one generation of ``user``'s, from where a browser was until it is finished, or ``lets_in`` says no.

    ``state`` says how it stands, ``text`` brings a piece, ``reset`` voids what came before, ``end`` brings the whole.
    They come when they happen: of texts side by side, only :mod:`app.candidates.live_pace` may see them.
    """
    page = _Page(user, generation_id, last_event_id, lets_in or partial(queries.still_lets_in, user_id=user.id))
    while not page.finished():
        try:
            async with aclosing(live_stream.follow(generation_id)) as stream, aclosing(page.events(stream)) as found:
                async for event in found:
                    yield event
        except _ShutOut:
            return
        except StreamAway:
            await asyncio.sleep(LOOK_SECONDS)


class _ShutOut(Exception):
    """What the stream was opened with lets nobody in any more."""


class _Page:
    """One browser, which has ``have`` characters of try ``number``."""

    def __init__(self, user: User, generation_id: int, last_event_id: str, lets_in: Callable[[Session], bool]) -> None:
        self._user, self._id, self._lets_in = user, generation_id, lets_in
        self._looked_at = 0.0
        number, _, have = last_event_id.partition("-")
        self._number, self._have = int(number or 0), int(have or 0)
        self._state = LiveState.QUEUED

    def finished(self) -> bool:
        """Whether the browser has the end."""
        return self._state in FINISHED

    async def events(self, stream: AsyncGenerator[list[Entry]]) -> AsyncGenerator[Event]:
        """The row, then the stream from its beginning; ends when the text is finished, or the stream fell behind the row."""
        for event in await self._look():
            yield event
        behind = False
        while not (self.finished() or behind):
            entries = await anext(stream)
            for entry in entries:
                async for event in self._follow_to(entry):
                    yield event
            before = self._number, self._have
            if not self.finished() and (
                not entries or self._is_long_ago() or any(entry.kind != "text" for entry in entries)
            ):
                for event in await self._look():
                    yield event
            behind = not entries and before != (self._number, self._have)

    async def _follow_to(self, entry: Entry) -> AsyncGenerator[Event]:
        """What ``entry`` brings, after what is missing before it: the row has that within a second, or another try begins."""
        while self._lacks(entry):
            for event in await self._look():
                yield event
            if self._lacks(entry):
                await asyncio.sleep(LOOK_SECONDS)
        if not self.finished():
            for event in self._take(entry.number, entry.at, entry.text):
                yield event

    async def _look(self) -> list[Event]:
        """Read the row in a short session in a thread; returns how it stands, and what the browser lacks of it."""

        def look() -> tuple[Snapshot, int]:
            with session_scope() as session:
                if not self._lets_in(session):
                    raise _ShutOut
                row = live.access(session, self._user, self._id)
                return shown(session, row), row.fencing_token

        self._looked_at = time.monotonic()
        seen, number = await asyncio.to_thread(look)
        values = asdict(seen)
        state = Event("state", {name: value for name, value in values.items() if name != "text"}, number)
        self._state = seen.state
        if self.finished():
            return [state, Event("end", values, number)]
        void = []
        if number < self._number:  # an id that is not of this text
            self._number = self._have = 0
            void = [Event("reset", {}, number)]
        return [state, *void, *self._take(number, 0, seen.text)]

    def _is_long_ago(self) -> bool:
        """Whether the row, and whether the browser may still know of it, was last looked at some seconds ago."""
        return time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS

    def _lacks(self, entry: Entry) -> bool:
        """Whether something is missing between what the browser has and ``entry``."""
        have = self._have if entry.number == self._number else 0
        return not self.finished() and entry.number >= self._number and entry.at > have

    def _take(self, number: int, at: int, text: str) -> Iterator[Event]:
        """Bring the browser to the end of ``text``, which begins at character ``at`` of try ``number``."""
        if number < self._number:  # from a worker that lost its lease
            return
        if number > self._number:
            if self._have:
                yield Event("reset", {}, number, f"{number}-0")
            self._number, self._have = number, 0
        fresh = text[max(0, self._have - at) :]
        if fresh:
            self._have += len(fresh)
            yield Event("text", {"text": fresh}, number, f"{number}-{self._have}")
