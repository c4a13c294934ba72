"""How long a connection may keep the server waiting, and how many there may be: what uvicorn leaves open.

A connection waits for its client while a request's head or body is on its way, and between two requests. Then

- a head has :attr:`Crowd.patience` seconds, and a bound on its size;
- a body comes at a pace, measured over as many seconds: an upload may take hours, and one that stops is over;
- an answer that nobody reads is given up.

There are so many connections in all and from one address, whom a configured proxy speaks for. Who comes when these are used
up takes the place of the one that has waited longest for its client: half requests push out each other, never one that is
being answered.
"""

from __future__ import annotations

import asyncio
import re
import resource
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.kernel.addresses import network
from app.kernel.settings import Settings
from app.shell.bodies import LARGE_BODY

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD_BYTES = 32 * 1024
"""The largest head; also what the framing of a body may come to, beside what the body itself explains."""
REST_SECONDS = 5
"""For the rest of a body that was answered before its end, so that the client gets to read the answer."""
REST_PAUSE = 0.1
"""Between two parts of such a rest: whoever sends what nobody reads shall not keep the server busy with it."""
PUSHED_SECONDS = 1.0
"""Who gives way in the middle of a request hears of it so much later, and comes back no faster than that."""
PUSHED_WAIT = 100
"""So many may wait for it: their descriptors are beyond those of the places."""
UNREAD_SECONDS = 120
SPARE_FILES = 300
"""Descriptors for what has no place: database, logs, downloads, connections that are about to be closed."""
BUSY = "Too many connections are open. Try again in a few seconds."
LATE = "The request did not arrive in time. Send it again."
LONG = "The headers of this request are too long."


class Phase(Enum):
    """What a connection is at."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    REST = auto()
    IDLE = auto()

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn."""
        return self is not Phase.ANSWER


class Crowd:
    """The connections of one server, by the network that each counts for."""

    def __init__(self, settings: Settings) -> None:
        self.patience = settings.request_seconds
        self.pace = settings.body_bytes_per_second
        self.proxies = ProxyHeadersMiddleware(_nothing, settings.proxy_list).trusted_hosts
        self._most, self._most_each = min(settings.connections, _files()), settings.connections_per_address
        self._present: dict[str | None, set[Connection]] = {}
        self._count = 0
        self._waiting: dict[str | None, dict[Connection, None]] = {}
        self._all_waiting: dict[Connection, None] = {}  # the one that waits longest stands first
        self.pushed = 0
        """Connections without a place that are not closed yet."""

    def enter(self, connection: Connection, who: str | None) -> bool:
        """Let ``connection`` in for ``who`` (None: a proxy, that speaks for many); False when no other gives way."""
        if self._count >= self._most and not self._make_room(self._all_waiting):
            return False
        is_full = who is not None and len(self._present.get(who, ())) >= self._most_each
        if is_full and not self._make_room(self._waiting.get(who, {})):
            return False
        self._present.setdefault(who, set()).add(connection)
        self._count += 1
        return True

    def leave(self, connection: Connection, who: str | None) -> None:
        """``connection`` counts for ``who`` no longer."""
        self.stop_waiting(connection, who)
        present = self._present.get(who, set())
        if connection in present:
            present.remove(connection)
            self._count -= 1
            if not present:
                del self._present[who]

    def wait(self, connection: Connection, who: str | None) -> None:
        """``connection`` waits for its client, from now on."""
        self.stop_waiting(connection, who)
        self._all_waiting[connection] = self._waiting.setdefault(who, {})[connection] = None

    def stop_waiting(self, connection: Connection, who: str | None) -> None:
        """It is the client who waits."""
        self._all_waiting.pop(connection, None)
        waiting = self._waiting.get(who)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[who]

    @staticmethod
    def _make_room(waiting: dict[Connection, None]) -> bool:
        longest = next(iter(waiting), None)
        if longest is None:
            return False
        longest.give_way()
        return True


class Connection(HttpToolsProtocol):
    """One connection of uvicorn's, with its place in the crowd and a clock."""

    def __init__(self, *given: Any, crowd: Crowd, **named: Any) -> None:
        super().__init__(*given, **named)
        self._crowd = crowd
        self._who: str | None = None
        self._for_many = False
        self._phase: Phase | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._reads_body = self._is_pushed = False
        self._other = 0  # bytes of this request that are no body
        self._body = 0

    # What uvicorn, its parser and the event loop call.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or say that there is none."""
        super().connection_made(transport)
        peer = self.client[0] if self.client else None
        self._for_many = peer in self._crowd.proxies
        self._who = None if self._for_many or peer is None else network(peer)
        if self._crowd.enter(self, self._who):
            self._become(Phase.HEAD)
        else:
            self._end(503, BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the place."""
        self._stop(self._clock, self._unread)
        self._crowd.leave(self, self._who)
        self._crowd.pushed -= self._is_pushed
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then see what is waited for now."""
        if self.transport.is_closing():
            return
        self._other += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._other > HEAD_BYTES + 8 * self._body:
            self._end(431, LONG)
        elif self._phase is Phase.REST and self._reads_body:
            self.transport.pause_reading()
            self.loop.call_later(REST_PAUSE, self._read_on)
        elif self._reads_body:
            self._become(Phase.BODY)
        else:
            self._become(Phase.ANSWER if self._request else Phase.HEAD)

    def on_headers_complete(self) -> None:
        """A request that has no place is answered with that."""
        self._reads_body = True
        if b"://" in self.url.partition(b"?")[0] and not self.url.startswith(b"/"):
            self._name_the_target()
        app = self.app
        if self._for_many and not self._count_for(self._spoken_for()):
            self.app = _busy
        super().on_headers_complete()
        self.app = app

    def on_body(self, body: bytes) -> None:
        """Bytes of a body."""
        super().on_body(body)
        self._body += len(body)
        self._other -= len(body)
        if self._body > LARGE_BODY:  # somebody's upload: it loses its place to nobody
            self._crowd.stop_waiting(self, self._who)

    def on_message_complete(self) -> None:
        """The request is here."""
        super().on_message_complete()
        self._reads_body = False
        self._other = self._body = 0

    def on_response_complete(self) -> None:
        """Go on to the next request, or wait for the rest of this one, which nobody reads."""
        super().on_response_complete()
        if not self.transport.is_closing() and self._request is None:
            if self._for_many:
                self._count_for(None)
            self._become(Phase.REST if self._reads_body else Phase.IDLE)

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._stop(self._unread)

    # What the crowd calls.

    def give_way(self) -> None:
        """Leave the place at once to whoever comes, and end: a half request later, or it would be back at once."""
        if self._phase is not Phase.HEAD or self._crowd.pushed >= PUSHED_WAIT:
            self._end(503, BUSY)
            return
        self._stop(self._clock)
        self._crowd.leave(self, self._who)
        self._crowd.pushed += 1
        self._is_pushed = True
        self.transport.pause_reading()
        self._clock = self.loop.call_later(PUSHED_SECONDS, self._end, 503, BUSY)

    # What only this connection does.

    @property
    def _request(self) -> RequestResponseCycle | None:
        """The one that is being answered; uvicorn says of the attribute that it is never None."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return None if cycle is None or cycle.response_complete else cycle

    def _become(self, phase: Phase) -> None:
        if phase is self._phase:
            return
        self._phase = phase
        self._stop(self._clock)
        if phase.waits:
            self._crowd.wait(self, self._who)
        else:
            self._crowd.stop_waiting(self, self._who)
        if phase is Phase.HEAD:
            self._clock = self.loop.call_later(self._crowd.patience, self._end, 408, LATE)
        elif phase is Phase.BODY:
            self._measure()
        elif phase is Phase.REST:
            self._clock = self.loop.call_later(REST_SECONDS, self.transport.close)

    def _read_on(self) -> None:
        if not (self.transport.is_closing() or self.flow.read_paused):
            self.transport.resume_reading()

    def _measure(self) -> None:
        self._clock = self.loop.call_later(self._crowd.patience, self._see_pace, self._body)

    def _see_pace(self, before: int) -> None:
        ours = self.flow.read_paused or bool(self._request and self._request.body)  # what came is not read yet
        if ours or self._body - before >= self._crowd.pace * self._crowd.patience:
            self._measure()
        else:
            self._end(408, LATE)

    def _name_the_target(self) -> None:
        """A target that names a host (``GET http://x/ HTTP/1.1``) counts, and ``Host`` beside it does not (RFC 9112, 3.2.2)."""
        host = re.split(rb"[/?]", self.url.partition(b"://")[2], maxsplit=1)[0]
        if not any(name == b"host" for name, _ in self.headers):
            self.headers.append((b"host", host))
        self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]

    def _spoken_for(self) -> str | None:
        values = [value for name, value in self.headers if name == b"x-forwarded-for"]
        host, _ = self._crowd.proxies.get_trusted_client_address(b", ".join(values).decode("latin1"))
        return network(host) if host else None

    def _count_for(self, who: str | None) -> bool:
        self._crowd.leave(self, self._who)
        entered = self._crowd.enter(self, who)
        self._who = who if entered else None
        if not entered:
            self._crowd.enter(self, None)
        self._phase = None  # its place among those who wait was the other's
        return entered

    def _end(self, status: int, said: str) -> None:
        """Say why, where no answer has begun, and close; what is not taken at once is not waited for."""
        self._stop(self._clock)
        self._crowd.leave(self, self._who)
        if self.transport.is_closing():
            return
        request = self._request
        if not (request and request.response_started) and self._phase not in {Phase.IDLE, Phase.REST}:
            self.transport.write(_answer(status, said))
        if request is not None:
            request.disconnected = True
            request.message_event.set()
        self.transport.close()
        self.loop.call_later(REST_SECONDS, self.transport.abort)

    @staticmethod
    def _stop(*clocks: asyncio.TimerHandle | None) -> None:
        for clock in clocks:
            if clock is not None:
                clock.cancel()


def _answer(status: int, said: str) -> bytes:
    titles = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}
    again = "retry-after: 5\r\n" if status == 503 else ""
    head = f"HTTP/1.1 {status} {titles[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n{again}"
    return f"{head}content-length: {len(said)}\r\nconnection: close\r\n\r\n{said}".encode("ascii")


async def _busy(_scope: Scope, _receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"5"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": BUSY.encode(), "more_body": False})


async def _nothing(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """What stands behind uvicorn's reading of a proxy's headers, of which only the reading is wanted here."""


def _files() -> int:
    """How many connections the system has descriptors for; as many as it lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 65_536) if wanted > soft else soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(16, soft - SPARE_FILES)
