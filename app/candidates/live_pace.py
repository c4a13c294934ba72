"""Texts that stand side by side come at one pace, so that time does not tell who writes.

Their reader gets equal numbers of characters of each, at a tick of our own clock: at about the pace of reading, and never
more than the slower side has. All that tells the sides apart by time is held back until the last one has ended: that one
was complete, failed, waited for its engine, or began anew. Then everything is shown at once, so nobody waits longer than
for the slower side. Where they were stopped, both are cut to what had come of both.

A text that stands alone, a revision, comes as it is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates import live, live_events
from app.candidates.live_events import FINISHED, Event, Snapshot
from app.candidates.models import LiveGeneration, LiveState

TICK_SECONDS = 0.25
STEP = 6
"""Characters of each text at a tick: 24 a second is how fast people read, and slower than what an engine writes."""
TICKS_OF_SILENCE = 20
"""After so many ticks without a change the state is sent again, so that a browser that is gone is noticed."""


# ── The rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def snapshot(session: Session, user: User, generation_id: int) -> Snapshot:
    """What ``user`` may know of a generation of their own."""
    return shown(session, live.access(session, user, generation_id))


def shown(session: Session, row: LiveGeneration) -> Snapshot:
    """What the user of ``row`` may know of it, which is no more than of what stands beside it."""
    rows = live.side_by_side(session, row)
    seen = [live_events.shown(session, each) for each in rows]
    index = [each.id for each in rows].index(row.id)
    if len(rows) == 1:
        return seen[0]
    if all(each.state in FINISHED for each in seen):
        return _settled(seen)[index]
    return replace(_joint(seen)[index], text=row.text[: _characters(rows)])


def shared_length(ended: Sequence[LiveGeneration | Snapshot]) -> int | None:
    """To how many characters texts that were stopped are cut; None where all were written to their end."""
    if not any(each.state is LiveState.STOPPED for each in ended):
        return None
    return min(len(each.text) for each in ended if each.state is not LiveState.FAILED)


def _settled(ended: Sequence[Snapshot]) -> list[Snapshot]:
    """How texts stand of which none is being written any more: stopped together, or each as it ended."""
    length = shared_length(ended)
    if length is None:
        return list(ended)
    return [
        each if each.state is LiveState.FAILED else replace(each, state=LiveState.STOPPED, text=each.text[:length])
        for each in ended
    ]


def _joint(seen: Sequence[Snapshot]) -> list[Snapshot]:
    """How texts stand as long as one of them is open: like the one that is behind, all of them."""
    waiting = [each for each in seen if each.state is LiveState.QUEUED]
    state = LiveState.QUEUED if waiting else LiveState.STREAMING
    position = max((each.position for each in waiting), default=0)
    error = next((each.error for each in waiting if each.error), None)
    return [replace(each, state=state, position=position, error=error) for each in seen]


def _characters(rows: Sequence[LiveGeneration]) -> int:
    """How much of each has been shown by now to who watched from the beginning, about."""
    began = [each.started_at for each in rows]
    times = [each for each in began if each is not None]
    if len(times) < len(began) or any(each.state is LiveState.QUEUED for each in rows):
        return 0
    seconds = max(0.0, (datetime.now(UTC) - max(times)).total_seconds())
    return min(int(seconds / TICK_SECONDS) * STEP, *(len(each.text) for each in rows))


# ── The stream ───────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Together:
    """The texts that one reader watches, left to right, and how much of each is shown at first."""

    ids: tuple[int, ...]
    begin: int


def together(rows: Sequence[LiveGeneration]) -> Together:
    """What stands side by side, as a reader comes to it."""
    return Together(tuple(each.id for each in rows), _characters(rows))


@dataclass(frozen=True)
class Release:
    """What all sides are given at one tick: the pieces of ``text``, or how they stand. ``kind`` is that of an event."""

    kind: str
    pieces: tuple[str, ...] = ()
    seen: tuple[Snapshot, ...] = ()
    name: str = ""

    def of_all(self) -> bytes:
        """For who follows all sides in one stream."""
        value: dict[str, object] = {}
        if self.kind == "text":
            value = {"texts": self.pieces}
        elif self.kind == "state":
            value = {name: getattr(self.seen[0], name) for name in ("state", "position", "error")}
        elif self.kind == "end":
            value = {"replies": [asdict(each) for each in self.seen]}
        return Event(self.kind, value, name=self.name).sent

    def of_one(self, index: int) -> bytes:
        """For who follows one side."""
        value: dict[str, object] = {"text": self.pieces[index]} if self.kind == "text" else {}
        if self.seen:
            value = asdict(self.seen[index])
            if self.kind == "state":
                del value["text"]
        return Event(self.kind, value, name=self.name).sent


async def tick() -> None:
    """The clock that all sides share."""
    await asyncio.sleep(TICK_SECONDS)


class _Side:
    """One text as it really comes."""

    def __init__(self) -> None:
        self.text, self.number = "", 0
        self.seen: Snapshot | None = None

    @property
    def ended(self) -> bool:
        return self.seen is not None and self.seen.state in FINISHED

    async def listen(self, events: AsyncGenerator[Event]) -> None:
        """Take what comes, to the end."""
        async with aclosing(events) as found:
            async for event in found:
                self._take(event)

    def _take(self, event: Event) -> None:
        if event.kind == "reset" or event.number > self.number:
            self.text, self.number = "", event.number
        if event.kind == "text":
            self.text += event.value["text"]
        elif event.kind == "end":
            self.seen = Snapshot(**event.value)
            self.text = self.seen.text
        elif event.kind == "state" and event.value["state"] not in FINISHED:  # else its end comes next
            self.seen = Snapshot(**event.value, text="")


async def follow(
    user: User, watched: Together, last_event_id: str, lets_in: Callable[[Session], bool] | None = None
) -> AsyncGenerator[Release]:
    """What is released of all sides, until the last one has ended, or ``lets_in`` says no.

    The ids of the releases say which tries and how many characters of each text a browser has: the same of every side.
    """
    sides = [_Side() for _ in watched.ids]
    tasks = [
        asyncio.create_task(side.listen(live_events.events(user, each, lets_in=lets_in)))
        for side, each in zip(sides, watched.ids, strict=True)
    ]
    pace = _Pace(sides, watched.begin, last_event_id)
    try:
        while not pace.over:
            await tick()
            over = [side for task, side in zip(tasks, sides, strict=True) if _is_over(task)]
            if not all(side.ended for side in over):
                return  # it lets nobody in any more
            for release in pace.releases():
                yield release
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_over(task: asyncio.Task[None]) -> bool:
    """Whether it ended; what it failed with is raised."""
    if task.done():
        task.result()
    return task.done()


async def sent(releases: AsyncGenerator[Release], written: Callable[[Release], bytes]) -> AsyncGenerator[bytes]:
    """Releases as they go over the line; they are closed with it."""
    async with aclosing(releases):
        async for release in releases:
            yield written(release)


class _Pace:
    """What a reader has of all sides: ``have`` characters of each, of the tries whose numbers add up to ``tries``."""

    def __init__(self, sides: Sequence[_Side], begin: int, last_event_id: str) -> None:
        self._sides = sides
        tries, _, have = last_event_id.partition("-")
        self._tries = int(tries) if have else None
        self._have, self._begin = int(have or 0), 0 if have else begin
        self._said: tuple[object, ...] = ()
        self._silent = 0
        self.over = False

    def releases(self) -> list[Release]:
        """What one tick brings."""
        seen = [side.seen for side in self._sides if side.seen]
        if len(seen) < len(self._sides):
            return []  # how one of them stands is not known yet
        if all(side.ended for side in self._sides):
            self.over = True
            settled = tuple(_settled(seen))
            return [Release("state", seen=settled), Release("end", seen=settled)]
        return [*self._state(seen), *self._reset(), *self._text()]

    def _state(self, seen: Sequence[Snapshot]) -> list[Release]:
        joint = _joint(seen)
        said = (joint[0].state, joint[0].position, joint[0].error)
        self._silent += 1
        if said == self._said and self._silent < TICKS_OF_SILENCE:
            return []
        self._said, self._silent = said, 0
        return [Release("state", seen=tuple(joint))]

    def _reset(self) -> list[Release]:
        """One that began anew takes the others with it: alone, it would tell whose engine was away."""
        tries = sum(side.number for side in self._sides)
        known, self._tries = self._tries, tries
        if known is None or known == tries or not self._have:
            return []
        self._have = self._begin = 0
        return [Release("reset", name=f"{tries}-0")]

    def _text(self) -> list[Release]:
        at = self._have
        to = min(max(at + STEP, self._begin), *(len(side.text) for side in self._sides))
        if to <= at:
            return []
        self._have = to
        return [Release("text", pieces=tuple(side.text[at:to] for side in self._sides), name=f"{self._tries}-{to}")]
