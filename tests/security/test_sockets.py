"""What a client can do with a connection, on real sockets against a real server: half requests, slow ones, very many."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from app.kernel.settings import get_settings
from app.services.embedded import free_port, poll
from app.shell.bodies import LARGE_BODY
from app.site import serve
from app.site.connections import HEAD_BYTES, Connection
from app.site.serve import configured
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HALF_A_HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n"
WHOLE = HALF_A_HEAD + b"\r\n"
HALF_A_BODY = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc"
OPEN = 3600.0


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with who asked and how much came; at /unread at once, at /told once much is there, at /stream without end."""
    assert scope["type"] == "http"
    size, more, path = 0, scope["path"] != "/unread", scope["path"]
    begun = False
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        if path == "/told" and size > LARGE_BODY and not begun:
            begun = True
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"much", "more_body": True})
    if not begun:
        await send({"type": "http.response.start", "status": 200, "headers": []})
    said = f"{scope['client'][0]} {scope['scheme']} {size}".encode()
    await send({"type": "http.response.body", "body": said, "more_body": path == "/stream"})
    while path == "/stream" and (await receive())["type"] != "http.disconnect":
        pass


@contextmanager
def serving(web: Any = echo, **limits: Any) -> Iterator[int]:
    """A server of ``web`` with these settings, on the port that is given."""
    port = free_port()
    wide = {"request_seconds": OPEN, "host": "127.0.0.1", "port": port}
    config = configured(web, get_settings().model_copy(update=wide | limits))
    config.lifespan, config.timeout_keep_alive, config.timeout_graceful_shutdown = "off", OPEN, 0  # type: ignore[assignment]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        assert any(server.started for _ in poll(PATIENCE))
        yield port
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE)


@contextmanager
def connected(port: int, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(sent)
        yield client


def heard(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def until(client: socket.socket, words: bytes) -> None:
    """Read until ``words`` have come."""
    came = b""
    while words not in came:
        part = client.recv(65536)
        assert part, came
        came += part


def asked(port: int, head: bytes = WHOLE) -> bytes:
    """The answer to one whole request."""
    with connected(port, head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")) as client:
        return heard(client)


SLOW = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half a head": HALF_A_HEAD,
    "half a second head": WHOLE + HALF_A_HEAD,
    "empty lines after a request": WHOLE + b"\r\n",
    "half a body": HALF_A_BODY,
    "half a chunk": b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    "a body for an answer that goes on": HALF_A_BODY.replace(b"POST /", b"POST /unread"),
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW.keys())
def test_a_request_that_does_not_come_is_given_up(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.site.connections.REST_SECONDS", 0.1)
    with serving(request_seconds=0.2) as port, connected(port) as client:
        before = WHOLE if sent.startswith(WHOLE) else b""
        client.sendall(before)
        assert not before or b" 200 OK" in client.recv(65536)
        client.sendall(sent.removeprefix(before))
        answer = heard(client)  # and it is closed, or this waits until the test fails
    assert b" 408 " in answer or b" 200 OK" in answer


def test_a_stream_is_not_a_request_that_does_not_come() -> None:
    with serving(request_seconds=0.05) as port, ExitStack() as stack:
        stream = stack.enter_context(connected(port, WHOLE.replace(b"GET /", b"GET /stream")))
        assert b" 200 OK" in stream.recv(65536)
        late = stack.enter_context(connected(port, HALF_A_HEAD))
        assert b" 408 " in heard(late)
        stream.settimeout(0)
        with suppress(BlockingIOError):
            assert stream.recv(65536), "it is still open"


def test_a_body_that_comes_at_a_pace_may_take_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are sent for as long as it takes until three windows were measured."""
    measured: list[int] = []
    see = Connection._see_pace

    def noted(connection: Connection, before: int) -> None:
        measured.append(before)
        see(connection, before)

    monkeypatch.setattr(Connection, "_see_pace", noted)
    with serving(request_seconds=1, body_bytes_per_second=1) as port, connected(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n")
        while len(measured) < 3:
            client.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert b" 200 OK" in heard(client)


def test_no_collection_walks_what_was_loaded_at_the_start(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: kept.append(gc.get_freeze_count()))
    try:
        serve.main([])
    finally:
        gc.unfreeze()
    assert kept[0] > 100_000


def test_a_head_without_end_is_refused() -> None:
    with serving() as port, connected(port, HALF_A_HEAD + b"x: " + b"y" * (2 * HEAD_BYTES)) as client:
        assert b" 431 " in heard(client)


def test_framing_without_a_body_is_refused() -> None:
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    with serving() as port, connected(port, head + b"trailer: x\r\n" * HEAD_BYTES) as client:
        assert b" 431 " in heard(client)


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY, WHOLE], ids=["nothing", "head", "body", "idle"])
@pytest.mark.parametrize("limits", [{"connections": 16}, {"connections_per_address": 16}], ids=["in all", "of one"])
def test_connections_that_wait_for_their_client_block_nobody(sent: bytes, limits: dict[str, int]) -> None:
    with serving(**limits) as port, ExitStack() as stack:
        clients = []
        for _ in range(50):
            clients.append(stack.enter_context(connected(port, sent)))
            if sent == WHOLE:  # one that is still being answered would not give way
                until(clients[-1], b"http 0")
        assert b" 200 OK" in asked(port)
        assert b" 408 " not in heard(clients[0]), "the oldest gave way"


def test_half_a_request_that_gives_way_does_not_come_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.site.connections.PUSHED_SECONDS", OPEN)
    monkeypatch.setattr("app.site.connections.PUSHED_WAIT", 1)
    with serving(connections=8) as port, ExitStack() as stack:
        first, second, *_ = [stack.enter_context(connected(port, HALF_A_HEAD)) for _ in range(8)]
        assert b" 200 OK" in asked(port), "its place is free"
        first.settimeout(0)
        with pytest.raises(BlockingIOError):
            first.recv(1)
        stack.enter_context(connected(port, HALF_A_HEAD))
        assert b" 200 OK" in asked(port)
        assert b" 503 " in heard(second), "no more than so many are kept"


def test_the_rest_of_a_body_that_was_answered_is_not_read_as_fast_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.site.connections.REST_PAUSE", OPEN)
    monkeypatch.setattr("app.site.connections.REST_SECONDS", 0.5)
    parts: list[int] = []
    receive = Connection.data_received

    def noted(connection: Connection, data: bytes) -> None:
        parts.append(len(data))
        receive(connection, data)

    monkeypatch.setattr(Connection, "data_received", noted)
    with (
        serving() as port,
        connected(port, HALF_A_BODY.replace(b"POST /", b"POST /unread").replace(b"100", b"99999999")) as client,
    ):
        until(client, b"http 0")
        with pytest.raises(OSError):  # noqa: PT011 - which of the several depends on the system
            client.sendall(bytes(64 * 2**20))
    assert len(parts) == 2, "the head, and one part that came after the answer"


def test_nobody_gives_way_who_is_being_answered_or_sends_much() -> None:
    much = b"POST /told HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    with serving(connections=8) as port, ExitStack() as stack:
        streams = [stack.enter_context(connected(port, WHOLE.replace(b"GET /", b"GET /stream"))) for _ in range(6)]
        assert all(b" 200 OK" in stream.recv(65536) for stream in streams)
        upload = stack.enter_context(connected(port, much + b"x" * 2 * LARGE_BODY))
        until(upload, b"much")
        for _ in range(20):
            stack.enter_context(connected(port, HALF_A_HEAD))
        assert b" 200 OK" in asked(port)
        upload.sendall(b"x" * (1_000_000 - 2 * LARGE_BODY))
        until(upload, b"1000000")


def test_who_finds_every_place_taken_is_told_to_come_back() -> None:
    with serving(connections_per_address=2) as port, ExitStack() as stack:
        for _ in range(2):
            stream = stack.enter_context(connected(port, WHOLE.replace(b"GET /", b"GET /stream")))
            assert b" 200 OK" in stream.recv(65536)
        answer = asked(port)
    assert b" 503 " in answer
    assert b"retry-after: 5" in answer


def test_a_place_is_free_again_after_its_client_has_left() -> None:
    with serving(connections=8, connections_per_address=2) as port:
        for _ in range(30):
            assert b" 200 OK" in asked(port)


FORWARDED = WHOLE.replace(b"host: x", b"host: x\r\nx-forwarded-for: 6.6.6.6, 203.0.113.9\r\nx-forwarded-proto: https")


@pytest.mark.parametrize("proxies", ["", "192.0.2.7", "10.0.0.0/8, 192.0.2.7"])
def test_nobody_but_the_proxy_says_for_whom_they_ask(proxies: str) -> None:
    with serving(proxies=proxies) as port:
        assert b"127.0.0.1 http 0" in asked(port, FORWARDED)


@pytest.mark.parametrize("proxies", ["127.0.0.1", "192.0.2.7, 127.0.0.0/8"])
def test_the_proxy_says_who_asked_it_and_not_who_they_say_they_are(proxies: str) -> None:
    with serving(proxies=proxies) as port:
        assert b"203.0.113.9 https 0" in asked(port, FORWARDED)


def test_those_behind_the_proxy_are_counted_one_by_one() -> None:
    def of(address: str, sent: bytes) -> bytes:
        return sent.replace(b"host: x", f"host: x\r\nx-forwarded-for: {address}".encode())

    stream = WHOLE.replace(b"GET /", b"GET /stream")
    with serving(proxies="127.0.0.1", connections_per_address=2) as port, ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(connected(port, of("2001:db8::1", stream)))
            assert b" 200 OK" in client.recv(65536)
        assert re.match(rb"HTTP/1.1 503 .*retry-after: 5", asked(port, of("2001:db8::2", WHOLE)), re.DOTALL)
        assert b" 200 OK" in asked(port, of("2001:db9::1", WHOLE))
        for _ in range(5):
            stack.enter_context(connected(port, of("192.0.2.1", HALF_A_BODY)))
        assert b" 200 OK" in asked(port, of("192.0.2.1", WHOLE))
