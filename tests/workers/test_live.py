"""Texts for somebody who waits: from the engine through the broker to the page, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from app.accounts import signing_in
from app.accounts.models import User
from app.candidates import live, live_events
from app.candidates.models import LiveGeneration, LiveState
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.errors import NotFound, TooMany
from app.kernel.jobs import Job
from app.kernel.settings import Settings
from app.registry import service as registry
from app.registry.models import Deployment
from app.site.main import create_app
from tests.engine_faults import Mode
from tests.factories import make_user
from tests.fake_engine import FakeEngine
from tests.generating import promote, register_policy
from tests.living import asked, entries, followed, row, run, snapshot
from workers.tasks import live as worker
from workers.tasks.serving import reconcile_serving

pytestmark = pytest.mark.slow


def test_a_text_comes_piece_by_piece_and_is_recorded_whole(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    generation = asked(alice)
    assert asyncio.run(run(generation.id, streamed))
    found = row(generation)
    assert (found.state, found.finish_reason, found.error) == (LiveState.DONE, "stop", None)
    assert found.completion_tokens > 0
    pieces: list[live_stream.Entry] = []

    async def read() -> None:
        async for some in live_stream.follow(generation.id, wait=0.1):
            pieces.extend(some)
            if some and some[-1].kind == "end":
                return

    asyncio.run(read())
    assert "".join(piece.text for piece in pieces) == found.text
    assert len(pieces) > 5
    assert fake.asked[-1]["stream"] is True
    # whoever connects late gets the whole, and one who was there goes on after what they had
    kind, said = followed(alice, generation)[-1]
    assert (kind, said["state"], said["text"]) == ("end", "done", found.text)


def test_a_stopped_text_keeps_what_had_come(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    generation = asked(alice)
    fake.fault(Mode.STALL, match="square root")  # half of the answer, then silence

    async def both() -> None:
        writing = asyncio.create_task(run(generation.id, streamed))
        while not row(generation).text:  # noqa: ASYNC110 - the row is all there is to watch
            await asyncio.sleep(0.02)
        with session_scope() as session:
            assert live.stop(session, alice, generation.id).stop_asked_at is not None
        await writing

    asyncio.run(both())
    found = row(generation)
    assert (found.state, found.finish_reason) == (LiveState.STOPPED, "stopped")
    assert found.text


def test_a_stop_is_seen_while_the_engine_says_nothing(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    generation = asked(alice)
    fake.fault(Mode.HANG, match="square root")

    async def both() -> None:
        writing = asyncio.create_task(run(generation.id, streamed))
        while row(generation).state is not LiveState.STREAMING:  # noqa: ASYNC110 - the row is all there is to watch
            await asyncio.sleep(0.02)
        with session_scope() as session:
            live.stop(session, alice, generation.id)
        await writing

    asyncio.run(both())
    assert (row(generation).state, row(generation).text) == (LiveState.STOPPED, "")


def test_a_stop_outlives_the_worker_that_should_have_seen_it(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    with session_scope() as session:
        held = live.claim(session, generation.id)
        assert held is not None
        live.note_progress(session, held, "so far")
        live.stop(session, alice, generation.id)
        session.execute(update(LiveGeneration).values(lease_until=LiveGeneration.created_at))
    with session_scope() as session:
        live.release_expired(session)
    assert (row(generation).state, row(generation).text) == (LiveState.STOPPED, "so far")


def test_a_stop_outlives_an_engine_that_goes_away(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    with session_scope() as session:
        held = live.claim(session, generation.id)
        assert held is not None
        live.stop(session, alice, generation.id)
    with session_scope() as session:
        live.put_back(session, held, "The engine is away.")
    assert row(generation).state is LiveState.STOPPED
    assert [entry.kind for entry in entries(generation)] == ["end"]


def test_what_waits_is_stopped_at_once_and_stopping_twice_is_fine(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    for _ in range(2):
        with session_scope() as session:
            assert live.stop(session, alice, generation.id).state is LiveState.STOPPED
    assert not asyncio.run(run(generation.id, streamed))


def test_a_reader_hears_of_a_stop_once_it_is_committed(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    with session_scope() as session:
        live.stop(session, alice, generation.id)
        assert entries(generation) == []
        session.rollback()
    assert entries(generation) == []
    with session_scope() as session:
        live.stop(session, alice, generation.id)
    assert [entry.kind for entry in entries(generation)] == ["end"]


def test_a_reader_hears_what_the_sweeper_did(streamed: Settings, alice: User) -> None:
    again, stopped = asked(alice), asked(alice, "k2")
    with session_scope() as session:
        for each in (again, stopped):
            live.claim(session, each.id)
        live.stop(session, alice, stopped.id)
        session.execute(update(LiveGeneration).values(lease_until=LiveGeneration.created_at))
    with session_scope() as session:
        live.release_expired(session)
    assert [[entry.kind for entry in entries(each)] for each in (again, stopped)] == [["wait"], ["end"]]


@pytest.mark.parametrize("mode", [Mode.TRUNCATED, Mode.ERROR, Mode.NUL, Mode.EMPTY, Mode.UNFINISHED])
def test_an_answer_that_cannot_be_used_fails_with_words(
    streamed: Settings, alice: User, fake: FakeEngine, mode: Mode
) -> None:
    generation = asked(alice)
    fake.fault(mode, match="square root")
    asyncio.run(run(generation.id, streamed))
    assert row(generation).state is LiveState.FAILED
    [*_, (kind, said)] = followed(alice, generation)
    assert (kind, said["error"]) == ("end", live_events.FAILED)


def test_an_engine_that_is_away_leaves_it_waiting(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    generation = asked(alice)
    fake.stop()
    asyncio.run(run(generation.id, streamed))
    found = row(generation)
    assert (found.state, found.attempts) == (LiveState.QUEUED, 0)
    assert "unavailable" in str(snapshot(generation).error)
    with session_scope() as session:
        assert live.release_expired(session) == 1
    fake.start()
    asyncio.run(run(generation.id, streamed))
    assert row(generation).state is LiveState.DONE


def test_an_engine_that_is_back_is_told_what_waits(streamed: Settings, alice: User, rung: list[Job]) -> None:
    asked(alice)
    rung.clear()
    reconcile_serving()
    assert rung.count(Job.LIVE) == 1
    reconcile_serving()
    assert rung.count(Job.LIVE) == 1, "nothing has changed"


def test_a_text_goes_on_as_soon_as_its_model_is_loaded(
    streamed: Settings, alice: User, fake: FakeEngine, rung: list[Job], tmp_path: Path
) -> None:
    with session_scope() as session:
        promote(session, register_policy(session, tmp_path / "policy-r1"))
    reconcile_serving()
    generation = asked(alice, "k1", "policy-r1")
    fake.adapters.clear()  # restarted between two probes, and nobody has put back what it would find by itself
    shutil.rmtree(streamed.served_dir)
    asyncio.run(run(generation.id, streamed))
    rung.clear()
    reconcile_serving()
    assert Job.LIVE in rung
    asyncio.run(run(generation.id, streamed))
    assert row(generation).state is LiveState.DONE


def test_a_text_whose_model_cannot_be_loaded_rings_in_no_circle(
    streamed: Settings, alice: User, rung: list[Job], tmp_path: Path
) -> None:
    with session_scope() as session:
        promote(session, register_policy(session, tmp_path / "policy-r1"))
    generation = asked(alice, "k1", "otter-policy")
    reconcile_serving()
    rung.clear()
    asyncio.run(run(generation.id, streamed))
    reconcile_serving()
    assert rung == [Job.RECONCILE_SERVING]


def test_what_no_engine_could_write_in_time_fails_with_words(streamed: Settings, alice: User, fake: FakeEngine) -> None:
    waited, fresh, untouched = asked(alice), asked(alice, "k2"), asked(alice, "k3")
    fake.stop()
    for each in (waited, fresh):
        asyncio.run(run(each.id, streamed))
    with session_scope() as session:
        old = LiveGeneration.created_at - timedelta(seconds=streamed.live_wait + 1)
        session.execute(update(LiveGeneration).where(LiveGeneration.id != fresh.id).values(created_at=old))
    with session_scope() as session:
        assert live.release_expired(session) == 2
    found = row(waited)
    assert (found.state, found.error, found.finished_at is not None) == (LiveState.FAILED, live.UNWRITTEN, True)
    assert followed(alice, waited)[-1][1]["error"] == live.UNWRITTEN
    # one that waited in a long queue only, and one that was put back just now, go on waiting
    assert {row(each).state for each in (fresh, untouched)} == {LiveState.QUEUED}


def test_a_model_that_left_the_rotation_is_not_waited_for(
    streamed: Settings, alice: User, fake: FakeEngine, rung: list[Job]
) -> None:
    asked(alice, "base")
    gone, wished = asked(alice, "k1", "otter-policy"), asked(alice, "k2", "heron-policy")
    for each in (gone, wished):
        asyncio.run(run(each.id, streamed))  # the engine has loaded neither
        assert (row(each).state, row(each).attempts) == (LiveState.QUEUED, 0)
    assert Job.RECONCILE_SERVING in rung
    with session_scope() as session:
        session.get_one(Deployment, gone.deployment_id).ended_at = gone.created_at
        rotation = [(each.id, each.load_state) for each in registry.in_rotation(session)]
    with session_scope() as session:
        live.release_expired(session)
        assert [(each.id, each.load_state) for each in registry.in_rotation(session)] == rotation
    assert (row(gone).state, row(gone).error) == (LiveState.FAILED, live.UNWRITTEN)
    fake.adapters["heron-policy"] = "/models/heron-policy"
    asyncio.run(run(wished.id, streamed))
    assert row(wished).state is LiveState.DONE


def test_a_killed_worker_costs_a_try_and_after_the_last_it_fails(streamed: Settings, alice: User) -> None:
    generation = asked(alice)
    for _ in range(streamed.generation_tries):
        with session_scope() as session:
            held = live.claim(session, generation.id)
            session.execute(update(LiveGeneration).values(lease_until=LiveGeneration.created_at))
        with session_scope() as session:
            live.release_expired(session)
    assert row(generation).state is LiveState.FAILED
    assert held is not None
    with session_scope() as session:  # what a late worker brings is dropped
        assert not live.note_progress(session, held, "late")


def test_a_broker_that_is_away_costs_smoothness_only(settings: Settings, alice: User) -> None:
    generation = asked(alice)
    asyncio.run(run(generation.id, settings))
    assert row(generation).state is LiveState.DONE
    assert followed(alice, generation)[-1][1]["text"] == row(generation).text


def test_the_quota_counts_what_is_under_way(settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    small = settings.model_copy(update={"live_tokens_per_day": 100})
    monkeypatch.setattr(live, "get_settings", lambda: small)
    first = asked(alice)
    assert asked(alice).id == first.id  # the same key: the same text
    with pytest.raises(TooMany, match="of the 100 tokens"):
        asked(alice, "k2")


@pytest.mark.parametrize("fate", ["waits", "is stopped", "fails", "is written"])
def test_the_quota_counts_what_was_read_whatever_became_of_it(
    settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    small = settings.model_copy(update={"live_tokens_per_day": 960})
    monkeypatch.setattr(live, "get_settings", lambda: small)
    long = [{"role": "user", "content": "日本" * 300}]  # 1,800 bytes
    first = asked(alice, messages=long)
    with session_scope() as session:
        if fate == "is stopped":
            live.stop(session, alice, first.id)
        elif fate != "waits":
            held = live.claim(session, first.id)
            assert held is not None
            if fate == "fails":
                live.fail(session, held, "It is too long.")
            else:
                live.finish(session, held, live.Written("Yes.", "stop", 600, 1, {}, ""), stopped=False)
    with pytest.raises(TooMany, match="can use in 24 hours"):
        asked(alice, "k2", messages=long)


def test_only_so_many_at_once(settings: Settings, alice: User) -> None:
    for number in range(settings.live_at_once):
        asked(alice, f"k{number}")
    with pytest.raises(TooMany, match="wait until one is complete"):
        asked(alice, "one more")


def test_a_text_is_its_users_own(settings: Settings, alice: User, committed: Engine) -> None:
    generation = asked(alice)
    with Session(committed, expire_on_commit=False) as session:
        bob = make_user(session, name="Bob")
        with pytest.raises(NotFound):
            live.stop(session, bob, generation.id)
        secret = signing_in.start_session(session, bob)
        session.commit()
    with TestClient(create_app(), cookies={"corral": secret}, headers={"sec-fetch-site": "same-origin"}) as client:
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/stop")):
            assert client.request(method, f"/api/v1/live/{generation.id}{path}").status_code == 404


def test_where_it_stands_in_the_queue(settings: Settings, alice: User) -> None:
    first, second = asked(alice), asked(alice, "k2")
    assert [snapshot(each).position for each in (first, second)] == [0, 1]
    asyncio.run(run(first.id, settings))
    assert snapshot(second).position == 0


def test_two_texts_at_once_share_one_event_loop_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    new_event_loop = asyncio.new_event_loop

    def slow() -> asyncio.AbstractEventLoop:
        time.sleep(0.05)  # long enough for the other thread to come in
        return new_event_loop()

    monkeypatch.setattr("workers.tasks.live.asyncio.new_event_loop", slow)
    worker._started.cache_clear()
    with ThreadPoolExecutor(2) as threads:
        first, second = (threads.submit(worker._loop) for _ in range(2))
        assert first.result() is second.result()
    first.result().call_soon_threadsafe(first.result().stop)
    worker._started.cache_clear()
