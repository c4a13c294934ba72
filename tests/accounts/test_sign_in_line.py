"""Signing in waits in a line of its own: it holds neither a turn nor a connection while it waits and while it hashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine

from app.accounts import hashing, passwords, service
from app.accounts.hashing import Line
from app.kernel.db import TURNS, get_engine, session_scope
from app.kernel.errors import TooMany
from app.kernel.settings import get_settings
from tests.factories import PASSWORD, make_user

ANYBODY = {"email": "nobody@example.org", "password": "a guess that is wrong"}


@dataclass
class Slow:
    """Verifies no sooner than it may."""

    real: Any
    began: Event = field(default_factory=Event)
    may_end: Event = field(default_factory=Event)

    def verify(self, stored: str, password: str) -> bool:
        self.began.set()
        assert self.may_end.wait(60)
        return bool(self.real.verify(stored, password))

    def hash(self, password: str) -> str:
        return str(self.real.hash(password))

    def check_needs_rehash(self, stored: str) -> bool:
        return bool(self.real.check_needs_rehash(stored))


@pytest.fixture
def slow_hashes(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """The processor's part of signing in, which takes until a test says so."""
    passwords._nobody()
    slow = Slow(passwords._hasher())
    monkeypatch.setattr(passwords, "_hasher", lambda: slow)
    return slow


def visitors(web: FastAPI, act: Callable[[httpx.AsyncClient], Any]) -> Any:
    async def visit() -> Any:
        headers = {"sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(web), base_url="http://test", headers=headers, timeout=60
        ) as client:
            return await act(client)

    return asyncio.run(visit())


async def until(happens: Callable[[], bool]) -> None:
    while not happens():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.01)


def test_a_flood_of_sign_ins_leaves_the_database_to_annotators(
    committed: Engine, web: FastAPI, slow_hashes: Slow
) -> None:
    with session_scope() as session:
        token = service.create_token(session, make_user(session), "alice", ["annotate"])
    pool: Any = get_engine().pool

    async def act(client: httpx.AsyncClient) -> tuple[httpx.Response, list[httpx.Response]]:
        flood = [asyncio.create_task(client.post("/login", data=ANYBODY)) for _ in range(hashing.IN_LINE_EACH + 20)]
        await until(lambda: sum(each.done() for each in flood) == 20)
        await until(lambda: slow_hashes.began.is_set() and TURNS.free() == get_settings().database_pool_size * 3 // 2)
        await until(lambda: pool.checkedout() == 0)  # or it hangs, and the test fails by name
        nexts = await client.post("/api/v1/annotate/next", headers={"authorization": f"Bearer {token}"})
        assert sum(each.done() for each in flood) == 20
        slow_hashes.may_end.set()
        return nexts, await asyncio.gather(*flood)

    nexts, flood = visitors(web, act)
    assert nexts.status_code == 204
    refused = [answer for answer in flood if "Many people are signing in" in answer.text]
    assert [answer.status_code for answer in refused] == [429] * 20
    assert refused[0].headers["retry-after"] == "5"
    assert sum(answer.status_code == 422 for answer in flood) >= 1, "who stood in line was heard"


def test_one_address_never_fills_the_line() -> None:
    async def act() -> None:
        line = Line(in_all=3, each=2)

        async def stand(address: str, leave: asyncio.Event) -> None:
            async with line.place(address):
                await leave.wait()

        leave = asyncio.Event()
        standing = [asyncio.create_task(stand("2001:db8::1", leave)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await stand("2001:db8::ffff", leave)
        standing.append(asyncio.create_task(stand("192.0.2.1", leave)))
        await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await stand("192.0.2.2", leave)
        leave.set()
        await asyncio.gather(*standing)
        await stand("2001:db8::1", leave)

    asyncio.run(act())


def test_who_is_refused_hears_of_it_late_and_holds_nothing_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "REFUSED_SECONDS", 3600.0)
    monkeypatch.setattr(hashing, "REFUSED_WAIT", 2)

    async def act() -> None:
        line = Line(in_all=1, each=1)

        async def too_often() -> None:
            async with line.place("192.0.2.1"):
                raise TooMany("Too many attempts.")

        async def stand(leave: asyncio.Event) -> None:
            async with line.place("192.0.2.2"):
                await leave.wait()

        leave = asyncio.Event()
        refused = [asyncio.create_task(too_often())]
        await until(lambda: line._refused == 1)
        standing = asyncio.create_task(stand(leave))  # the place and the turn are free
        await until(lambda: line._turns.free() == hashing.AT_ONCE - 1)
        refused.append(asyncio.create_task(stand(leave)))
        await until(lambda: line._refused == 2)
        with pytest.raises(TooMany):
            await stand(leave)  # so many wait that this one need not
        assert not any(each.done() for each in refused)
        leave.set()
        await standing
        for each in refused:
            each.cancel()
        await asyncio.gather(*refused, return_exceptions=True)
        assert line._refused == 0

    asyncio.run(act())


def test_who_changes_the_password_meanwhile_is_not_overtaken(
    committed: Engine, web: FastAPI, slow_hashes: Slow
) -> None:
    with session_scope() as session:
        alice = make_user(session, name="Alice")
    sign_in = {"email": alice.email, "password": PASSWORD}

    def change() -> None:
        with session_scope() as session:
            found = session.merge(alice)
            found.password_hash = "another"

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        going = asyncio.create_task(client.post("/login", data=sign_in))
        await until(slow_hashes.began.is_set)
        await asyncio.to_thread(change)
        slow_hashes.may_end.set()
        return await going

    assert visitors(web, act).status_code == 422


def test_people_who_are_signed_in_wait_in_few_threads() -> None:
    seats = [hashing._seats.acquire(blocking=False) for _ in range(hashing.AT_ONCE + hashing.SIGNED_IN)]
    try:
        assert all(seats)
        with pytest.raises(TooMany):
            passwords.rehash(PASSWORD)
    finally:
        for _ in seats:
            hashing._seats.release()
    assert passwords.verify(passwords.rehash(PASSWORD), PASSWORD)


def test_nothing_is_hashed_for_who_has_left(committed: Engine, web: FastAPI, slow_hashes: Slow) -> None:
    body = b"email=nobody%40example.org&password=a+guess"
    kind = (b"content-type", b"application/x-www-form-urlencoded")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/login",
        "raw_path": b"/login",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"sec-fetch-site", b"same-origin"), kind],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
    }
    said: list[int] = []

    async def visit() -> None:
        comes = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            return next(comes, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            said.append(message.get("status", 0))

        await web(scope, receive, send)

    slow_hashes.may_end.set()
    asyncio.run(visit())
    assert said[0] == 429
    assert not slow_hashes.began.is_set()
