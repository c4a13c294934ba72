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
from app.db import TURNS, get_engine, session_scope
from app.errors import TooMany
from app.settings import get_settings
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
