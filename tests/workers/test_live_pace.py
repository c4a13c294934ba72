"""Two answers side by side: nothing that their reader gets, and no moment at which it comes, tells which engine is slower."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts import signing_in
from app.accounts.models import User
from app.candidates import live, live_events, live_pace
from app.candidates.live import Written
from app.candidates.live_events import Event, Snapshot
from app.candidates.live_pace import STEP, Release, _Pace, _Side
from app.candidates.models import LiveGeneration, LiveState
from app.kernel import live_stream
from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.prompts.models import Prompt
from app.registry.models import Checkpoint, Deployment
from app.site.main import create_app
from tests.factories import make_user
from tests.fake_engine import FakeEngine
from tests.living import Browser, Pen, parsed, row, run
from tests.talking import begin_dialogue, say

pytestmark = pytest.mark.slow

EARLY, LATE = "A quick brown fox jumps over the lazy dog. " * 3, "Sphinx of black quartz, judge my solemn vow. " * 3
Heard = list[tuple[int, str, int, str]]


class Engines:
    """Two engines that write so many characters a tick, and one reader of both: no clock but the ticks that a test counts."""

    def __init__(self, *speeds: int, lengths: tuple[int, int] = (len(EARLY), len(LATE))) -> None:
        self.speeds, self.texts = speeds, [EARLY[: lengths[0]], LATE[: lengths[1]]]
        self.sides = [_Side(), _Side()]
        self.pace = _Pace(self.sides, 0, "")
        self.heard: list[Heard] = [[], []]
        self.ticks = 0
        self.tries = [1, 1]
        self.ended = [False, False]

    def say(self, side: int, kind: str, **value: object) -> None:
        self.sides[side]._take(Event(kind, value, self.tries[side]))

    def stand(self, side: int, state: LiveState, text: str | None = None, error: str | None = None) -> None:
        values: dict[str, object] = {"id": side, "state": state, "position": 0, "error": error}
        if text is None:
            self.say(side, "state", **values)
        else:
            self.say(side, "end", text=text, **values)
            self.ended[side] = True

    def tick(self) -> list[Release]:
        """One tick, as a reader of each side hears it: when, what, how much, and under which id."""
        found = self.pace.releases()
        for release in found:
            for side, heard in enumerate(self.heard):
                kind, value, name = parsed(release.of_one(side))
                heard.append((self.ticks, kind, 0 if kind == "end" else len(str(value.get("text", ""))), name))
        self.ticks += 1
        return found

    def write(self) -> None:
        """Both write for one tick, and end where their text does."""
        for side, (speed, text) in enumerate(zip(self.speeds, self.texts, strict=True)):
            if self.ended[side]:
                continue
            at = self.ticks * speed
            self.stand(side, LiveState.STREAMING)
            self.say(side, "text", text=text[at : at + speed])
            if at + speed >= len(text):
                self.stand(side, LiveState.DONE, text)

    def run(self) -> Sequence[Heard]:
        while not self.pace.over:
            self.write()
            self.tick()
        return self.heard


@pytest.mark.parametrize("lengths", [(120, 120), (30, 120), (120, 30)], ids=["alike", "left short", "right short"])
@pytest.mark.parametrize("speeds", [(9, 40), (40, 9), (3, 40), (1, 2)])
def test_each_side_hears_as_much_at_the_same_tick(speeds: tuple[int, int], lengths: tuple[int, int]) -> None:
    engines = Engines(*speeds, lengths=lengths)
    left, right = engines.run()
    assert left == right
    assert left[-1][1] == "end"
    # and nobody waited for longer than the slower side took
    assert left[-1][0] == max(-(-length // speed) for speed, length in zip(speeds, lengths, strict=True)) - 1
    assert max(size for _, _, size, _ in left) <= STEP


@pytest.mark.parametrize("lengths", [(120, 120), (60, 60)])
def test_it_sounds_the_same_whichever_side_is_slow(lengths: tuple[int, int]) -> None:
    assert Engines(8, 30, lengths=lengths).run() == Engines(30, 8, lengths=lengths).run()


def test_the_end_of_one_is_held_back_until_both_have_ended() -> None:
    engines = Engines(200, 1)
    for _ in range(40):
        engines.write()
        engines.tick()
    assert engines.ended == [True, False]
    assert {(kind, size) for _, kind, size, _ in engines.heard[0]} == {("state", 0), ("text", 1)}
    assert engines.heard[0] == engines.heard[1]


@pytest.mark.parametrize("side", [0, 1])
def test_one_that_fails_is_told_with_the_end_of_the_other(side: int) -> None:
    engines = Engines(20, 20)
    engines.stand(1 - side, LiveState.STREAMING)
    engines.stand(side, LiveState.FAILED, "", "The text could not be generated.")
    [state] = engines.tick()
    assert {(each.state, each.error) for each in state.seen} == {(LiveState.STREAMING, None)}
    engines.stand(1 - side, LiveState.DONE, "All of it.")
    *_, end = engines.tick()
    assert [each.state for each in end.seen][side] is LiveState.FAILED
    assert end.seen[side].error
    assert end.seen[1 - side].text == "All of it."


@pytest.mark.parametrize("side", [0, 1])
def test_both_wait_and_begin_anew_when_the_engine_of_one_is_away(side: int) -> None:
    engines = Engines(20, 20)
    engines.write()
    engines.tick()
    engines.stand(side, LiveState.QUEUED, error="The engine is away for the moment.")
    [state, *_] = engines.tick()
    assert {(each.state, each.error) for each in state.seen} == {
        (LiveState.QUEUED, "The engine is away for the moment.")
    }
    engines.tries[side] += 1
    engines.stand(side, LiveState.STREAMING)
    assert [release.kind for release in engines.tick()] == ["state", "reset"]
    engines.say(side, "text", text="Anew and anew")
    [text] = engines.tick()
    assert [len(piece) for piece in text.pieces] == [STEP, STEP]
    assert engines.heard[0] == engines.heard[1]


def test_both_wait_as_long_as_the_last_in_the_queue() -> None:
    engines = Engines(20, 20)
    engines.say(0, "state", id=0, state=LiveState.QUEUED, position=2, error=None)
    assert engines.tick() == [], "how the other one stands is not known yet"
    engines.stand(1, LiveState.STREAMING)
    [state] = engines.tick()
    assert {(each.state, each.position) for each in state.seen} == {(LiveState.QUEUED, 2)}


def test_what_was_stopped_is_as_long_on_both_sides_whichever_was_ahead() -> None:
    ended = [Snapshot(1, LiveState.DONE, 0, "Whole and long.", None), Snapshot(2, LiveState.STOPPED, 0, "Half", None)]
    for order in (ended, ended[::-1]):
        found = live_pace._settled(order)
        assert {(each.state, len(each.text)) for each in found} == {(LiveState.STOPPED, 4)}


# ── Over the line ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sits and waits here."""
    monkeypatch.setattr(live_events, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(live_pace, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(live_stream, "follow", partial(live_stream.follow, wait=0.3))


@pytest.fixture
def pair(streamed: Settings, committed: Engine, alice: User) -> list[LiveGeneration]:
    """Two answers that Alice waits for, left and right."""
    with Session(committed, expire_on_commit=False) as session:
        turn = say(session, session.merge(alice), begin_dialogue(session, session.merge(alice)), "Why?")
        return list(live.replies(session, turn.id))


def watching(user: User, pair: list[LiveGeneration], last_event_id: str = "") -> AsyncGenerator[Release]:
    with session_scope() as session:
        watched = live_pace.together([session.get_one(LiveGeneration, each.id) for each in pair])
    return live_pace.follow(user, watched, last_event_id)


async def shown(browsers: list[Browser], releases: AsyncIterator[Release], length: int) -> None:
    """Read on until a page shows so many characters of each."""
    async with asyncio.timeout(20):
        while len(browsers[0].text) < length:
            release = await anext(releases)
            for side, browser in enumerate(browsers):
                browser.gets(release.of_one(side))


@pytest.mark.parametrize("slow", [0, 1])
def test_one_that_is_complete_is_no_further_than_the_one_that_is_not(
    alice: User, pair: list[LiveGeneration], slow: int
) -> None:
    pens = [Pen.takes(each) for each in pair]
    pens[1 - slow].write(EARLY)
    pens[1 - slow].finish()
    pens[slow].write("Only")

    async def read() -> None:
        browsers, releases = [Browser(), Browser()], watching(alice, pair)
        await shown(browsers, releases, 4)
        assert [len(each.text) for each in browsers] == [4, 4]
        pens[slow].note()
        with session_scope() as session:
            seen = [live_pace.snapshot(session, alice, each.id) for each in pair]
        assert {(each.state, each.error) for each in seen} == {(LiveState.STREAMING, None)}
        assert len({len(each.text) for each in seen}) == 1
        # a reload, and a connection that broke, go on where it was
        again = [Browser(each.text, each.last_event_id) for each in browsers]
        assert again[0].last_event_id == again[1].last_event_id
        pens[slow].write(" so much.")
        rest = watching(alice, pair, again[0].last_event_id)
        await shown(again, rest, 13)
        await rest.aclose()
        pens[slow].finish()
        while not all(each.ended for each in browsers):
            release = await anext(releases)
            kinds = [browser.gets(release.of_one(side)) for side, browser in enumerate(browsers)]
            assert len(set(kinds)) == 1
        assert browsers[slow].text == "Only so much."
        assert browsers[1 - slow].text == EARLY

    asyncio.run(read())


@pytest.mark.parametrize("slow", ["zebra-base", "okapi-policy"])
def test_two_engines_of_two_speeds_are_followed_at_one(
    streamed: Settings, alice: User, fake: FakeEngine, pair: list[LiveGeneration], slow: str
) -> None:
    fake.adapters["okapi-policy"] = "loaded"
    with session_scope() as session:
        models = session.scalars(
            select(Checkpoint.name)
            .join(Deployment, Deployment.checkpoint_id == Checkpoint.id)
            .where(Deployment.id.in_([each.deployment_id for each in pair]))
        ).all()
    fake.word_delays[fake.base if slow == "zebra-base" else slow] = 0.02
    assert sorted(models) == ["okapi-policy", "zebra-base"]
    patient = streamed.model_copy(update={"engine_timeout": 60})
    finished: list[set[LiveState]] = []

    async def one(index: int) -> tuple[int, str]:
        """How much of it came before its end, and all of it."""
        before = 0
        async with asyncio.timeout(60):
            async for release in watching(alice, pair):
                kind, value, _ = parsed(release.of_one(index))
                before += len(value["text"]) if kind == "text" else 0
                if kind == "end":
                    finished.append({row(each).state for each in pair})
        return before, str(value["text"])

    async def both() -> list[tuple[int, str]]:
        written = asyncio.gather(*(run(each.id, patient) for each in pair))
        found = await asyncio.gather(one(0), one(1))
        await written
        return list(found)

    found = asyncio.run(both())
    assert [text for _, text in found] == [row(each).text for each in pair]
    assert finished == [{LiveState.DONE}, {LiveState.DONE}], "neither end was told before the other one's"
    assert all(before <= min(len(text) for _, text in found) for before, _ in found)


def test_a_turn_is_followed_over_the_api_by_its_annotator_alone(
    alice: User, pair: list[LiveGeneration], committed: Engine
) -> None:
    pens = [Pen.takes(each) for each in pair]
    for pen, text in zip(pens, (EARLY, "Short."), strict=True):
        pen.write(text)
    with session_scope() as session:
        assert live.stop(session, alice, pair[1].id).stop_asked_at
    assert all(row(each).stop_asked_at for each in pair), "one alone would tell how far it was"
    for pen in pens:
        with session_scope() as session:
            live.finish(session, pen.held, Written(pen.text, "stopped", 0, 1, {}, ""), stopped=True)
    with Session(committed, expire_on_commit=False) as session:
        turn = session.get_one(Prompt, pair[0].prompt_id)
        bob = make_user(session, name="Bob")
        url = f"/api/v1/dialogues/{turn.dialogue_id}/turns/{turn.id}/events"
        secrets = [signing_in.start_session(session, each) for each in (alice, bob)]
        session.commit()
    mine, others = [
        TestClient(create_app(), cookies={"corral": secret}, headers={"sec-fetch-site": "same-origin"})
        for secret in secrets
    ]
    assert others.get(url).status_code == 404
    assert mine.get(f"{url[: -len('/events')]}0/events").status_code == 404
    *_, end = mine.get(url).content.split(b"\n\n")[:-1]
    kind, said, _ = parsed(end)
    assert (kind, [each["text"] for each in said["replies"]]) == ("end", [EARLY[:6], "Short."])
    for each, text in zip(pair, (EARLY[:6], "Short."), strict=True):
        assert mine.get(f"/api/v1/live/{each.id}").json()["text"] == text
        assert parsed(mine.get(f"/api/v1/live/{each.id}/events").content.split(b"\n\n")[-2])[1]["text"] == text
