"""What a page that follows a text gets, whatever the broker loses on the way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import redis
import uvicorn
from sqlalchemy import create_engine, func, update
from sqlalchemy.engine import Engine

import app.kernel.db
from app.accounts import queries, signing_in
from app.accounts import service as accounts
from app.accounts.models import User
from app.candidates import live, live_events
from app.candidates.models import LiveGeneration, LiveState
from app.kernel import live_stream
from app.kernel.db import get_engine, session_scope
from app.kernel.settings import Settings
from app.services.embedded import Valkey, free_port, poll
from app.site.main import create_app
from tests.fake_engine import FakeEngine
from tests.living import Browser, Pen, asked, entries, followed, listening, parsed, row, run
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sits and waits here."""
    monkeypatch.setattr(live_events, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(live_stream, "follow", partial(live_stream.follow, wait=0.3))


@pytest.fixture
def flush(streamed: Settings) -> Iterator[redis.Redis]:
    """The broker, to be emptied."""
    with redis.Redis.from_url(streamed.broker_url) as client:
        yield client


async def until(browser: Browser, events: AsyncIterator[bytes], text: str) -> None:
    """Read on until the page shows ``text``."""
    async with asyncio.timeout(10):
        while browser.text != text:
            browser.gets(await anext(events))


@pytest.mark.parametrize("writes_on", [True, False])
@pytest.mark.parametrize("way", ["closed", "signed out", "revoked"])
def test_a_stream_ends_with_what_it_was_opened_with(
    streamed: Settings, alice: User, way: str, *, writes_on: bool
) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    with session_scope() as session:
        held = queries.session_holder(session, signing_in.start_session(session, alice))
        token = accounts.issue_token(session, alice, "script", ["annotate"])[0]
        assert held
    session_id, token_id = held[1] if way == "signed out" else None, token.id if way == "revoked" else None

    def end() -> None:
        with session_scope() as session:
            if way == "closed":
                session.execute(update(User).where(User.id == alice.id).values(disabled_at=func.now()))
            elif way == "signed out":
                signing_in.end_session(session, alice, held[1])
            else:
                accounts.revoke_token(session, alice, token.id)

    async def read() -> str:
        browser = Browser()
        events = live_events.follow(
            alice,
            generation.id,
            lets_in=partial(queries.still_lets_in, user_id=alice.id, session_id=session_id, token_id=token_id),
        )
        pen.write("Before.")
        await until(browser, events, "Before.")
        await asyncio.to_thread(end)
        async with asyncio.timeout(10):
            async for event in events:
                browser.gets(event)
                if writes_on:
                    pen.write(" After.")
        return browser.text

    assert len(asyncio.run(read())) < 100, "it ended, although the text did not"


def test_who_connects_again_gets_exactly_what_comes_after_the_last_event(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    pieces = ["Seven ", "quiet\n\n", "rivers: ", "ünïcödé 🦓", ".", " The end"]

    async def whole() -> list[tuple[str, str]]:
        browser, events, had = Browser(), live_events.follow(alice, generation.id), []
        for piece in pieces:
            pen.write(piece)
            await until(browser, events, pen.text)
            had.append((browser.last_event_id, browser.text))
        await events.aclose()
        return had

    had = asyncio.run(whole())
    assert [text for _, text in had] == ["".join(pieces[: n + 1]) for n in range(len(pieces))]

    async def rest(last_event_id: str, text: str) -> None:
        browser, events = Browser(text, last_event_id), live_events.follow(alice, generation.id, last_event_id)
        await until(browser, events, pen.text + "…")
        await events.aclose()

    pen.note()  # some of it comes from the row, and some from the stream: nothing comes twice
    pen.write("…")
    for last_event_id, text in had:
        pen.text = "".join(pieces)
        asyncio.run(rest(last_event_id, text))


def test_a_broker_that_is_emptied_under_a_reader_leaves_no_gap(
    streamed: Settings, alice: User, flush: redis.Redis
) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)

    async def read() -> None:
        browser, events = Browser(), live_events.follow(alice, generation.id)
        pen.write("one ")
        await until(browser, events, "one ")
        pen.write("two ", "three ")
        flush.flushall()  # before the reader had them
        pen.write("four ")
        waiting = asyncio.create_task(until(browser, events, "one two three four "))
        await asyncio.sleep(0.1)
        assert browser.text == "one ", "nothing is shown behind a gap"
        pen.note()
        await waiting
        pen.write("five")
        await until(browser, events, "one two three four five")
        pen.finish()
        while not browser.ended:
            browser.gets(await anext(events))

    asyncio.run(read())


def test_a_reader_who_comes_after_the_broker_was_emptied_gets_all(
    streamed: Settings, alice: User, flush: redis.Redis
) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    pen.write("one ", "two ")
    pen.note()
    flush.flushall()

    async def read(browser: Browser, text: str) -> None:
        events = live_events.follow(alice, generation.id, browser.last_event_id)
        await until(browser, events, text)
        await events.aclose()

    asyncio.run(read(Browser(), "one two "))
    asyncio.run(read(Browser("one ", "1-4"), "one two "))
    pen.write("three")
    asyncio.run(read(Browser(), "one two three"))
    asyncio.run(read(Browser("one ", "1-4"), "one two three"))


def test_a_stream_whose_ids_begin_lower_is_found_again(streamed: Settings, alice: User, flush: redis.Redis) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    ahead = {"kind": "text", "text": "one ", "number": 1, "at": 0}
    flush.xadd(live_stream.key_of(generation.id), ahead, id="9999999999999-0")  # type: ignore[arg-type]
    pen.text = "one "

    async def read() -> None:
        browser, events = Browser(), live_events.follow(alice, generation.id)
        await until(browser, events, "one ")
        flush.flushall()
        pen.write("two ")
        pen.note()
        await until(browser, events, "one two ")
        pen.write("three")  # which no row has
        await until(browser, events, "one two three")
        await events.aclose()

    asyncio.run(read())


def test_a_broker_that_is_restarted_with_nothing_costs_no_text(
    settings: Settings, alice: User, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.held_after, fake.word_delay = 4, 0.05  # held, or it has ended before the broker is away
    generation = asked(alice)
    valkey = Valkey(tmp_path / "first")
    found = settings.model_copy(update={"broker_url": valkey.url, "engine_timeout": 60})
    monkeypatch.setattr(live_stream, "get_settings", lambda: found)
    browser = Browser()
    kinds: list[str] = []

    async def both() -> None:
        with listening(valkey):
            writing = asyncio.create_task(run(generation.id, found))
            events = live_events.follow(alice, generation.id)
            while len(browser.text) < 12:
                browser.gets(await anext(events))
        fake.go_on()
        with listening(Valkey(tmp_path / "second", port=valkey.port, password=valkey.password)):
            kinds.extend([browser.gets(event) async for event in events])
            await writing

    asyncio.run(both())
    assert browser.text == row(generation).text
    assert row(generation).state is LiveState.DONE
    assert "reset" not in kinds, "what was shown stays"


def test_a_broker_that_hangs_holds_up_no_text(
    settings: Settings, alice: User, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = asked(alice)
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes connections, and never answers
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        found = settings.model_copy(update={"broker_url": url, "engine_timeout": 60})
        monkeypatch.setattr(live_stream, "get_settings", lambda: found)
        tried: list[str] = []
        writer = live_stream._writer

        def trying(url: str) -> redis.Redis:
            tried.append(url)
            return writer(url)

        monkeypatch.setattr(live_stream, "_writer", trying)
        asyncio.run(run(generation.id, found))
    assert row(generation).state is LiveState.DONE
    assert len(tried) == 1, "not once a piece"


def test_a_new_try_voids_what_the_last_one_wrote(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    first = Pen.takes(generation)

    async def read() -> None:
        browser, events = Browser(), live_events.follow(alice, generation.id)
        first.write("A ", "first ")
        first.note()
        await until(browser, events, "A first ")
        with session_scope() as session:
            session.execute(update(LiveGeneration).values(lease_until=LiveGeneration.created_at))
        with session_scope() as session:
            live.release_expired(session)
        second = Pen.takes(generation)
        first.write("try")  # it doesn't know yet that it lost the row
        second.write("A second ")
        first.write(" goes on")
        second.write("try")
        seen = []
        while browser.text != "A second try":
            seen.append(browser.gets(await anext(events)))
            assert browser.text in {"A first ", "A first try", "", "A second ", "A second try"}
        assert seen.count("reset") == 1
        await events.aclose()

    asyncio.run(read())
    kind, said = followed_until_text(alice, generation, "1-8")
    assert (kind, said) == ("reset", "")


def followed_until_text(user: User, generation: LiveGeneration, last_event_id: str) -> tuple[str, str]:
    """The first event after the state."""

    async def read() -> tuple[str, str]:
        events = live_events.follow(user, generation.id, last_event_id)
        assert parsed(await anext(events))[0] == "state"
        kind, said, _ = parsed(await anext(events))
        await events.aclose()
        return kind, str(said.get("text", ""))

    return asyncio.run(read())


def test_an_id_that_is_of_no_try_begins_anew(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    pen.write("one")
    pen.note()
    browser = Browser("something else", "1764100000000-0")

    async def read() -> None:
        events = live_events.follow(alice, generation.id, browser.last_event_id)
        await until(browser, events, "one")
        await events.aclose()

    asyncio.run(read())


def test_what_the_stream_carries_is_the_text(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    generation = asked(alice)
    asyncio.run(run(generation.id, streamed))
    *pieces, end = entries(generation)
    assert end.kind == "end"
    assert [piece.at for piece in pieces] == [len("".join(p.text for p in pieces[:n])) for n in range(len(pieces))]
    assert followed(alice, generation)[-1][1]["text"] == "".join(piece.text for piece in pieces)


# ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def one_connection(committed: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A pool that has one connection: who holds it while waiting for a text lets nobody else read."""
    pool = create_engine(get_engine().url, pool_size=1, max_overflow=0, pool_timeout=PATIENCE / 5)
    monkeypatch.setattr(app.kernel.db, "get_engine", lambda: pool)
    yield pool
    pool.dispose()


@asynccontextmanager
async def served(user: User) -> AsyncIterator[httpx.AsyncClient]:
    """A client, signed in as ``user``, of a web server that really streams."""
    with session_scope() as session:
        secret = signing_in.start_session(session, user)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert any(server.started for _ in poll(PATIENCE))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", cookies={"corral": secret}, timeout=PATIENCE, trust_env=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(PATIENCE)


def test_twenty_pages_that_wait_leave_the_only_connection_to_others(
    streamed: Settings, alice: User, one_connection: Engine
) -> None:
    generation = asked(alice)
    pen = Pen.takes(generation)
    pen.write("one")

    async def read() -> None:
        async with served(alice) as client, AsyncExitStack() as stack:
            url = f"/api/v1/live/{generation.id}"
            pages = [await stack.enter_async_context(client.stream("GET", f"{url}/events")) for _ in range(20)]
            lines = [page.aiter_lines() for page in pages]
            for each in lines:
                assert any([line.startswith("event: text") async for line in first(each, 5)])
            answer = await client.get(url)
            assert (answer.status_code, answer.json()["state"]) == (200, "streaming")
            pen.finish()
            for each in lines:
                assert any([line.startswith("event: end") async for line in each])

    asyncio.run(read())
    assert one_connection.pool.checkedout() == 0  # type: ignore[attr-defined]


async def first(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    """As many lines and no more: the next one may be long in coming."""
    for _ in range(count):
        yield await anext(lines)
