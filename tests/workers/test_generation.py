"""The pump against a fake engine over real HTTP and a real database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from app.candidates import service as ledger
from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.prompts.models import Batch, BatchState, Prompt
from app.registry import service as registry
from app.registry.models import EngineState
from app.registry.queries import engine_view
from tests.engine_faults import Mode
from tests.fake_engine import FakeEngine
from tests.generating import (
    assert_nothing_lost_or_doubled,
    batch_of,
    counts,
    let_retries_be_due,
    quarantined,
)
from tests.patience import PATIENCE, eventually
from workers import stopping
from workers.tasks import generation

pytestmark = pytest.mark.usefixtures("base_is_served")


def run_until_nothing_is_pending(times: int = 6) -> None:
    for _ in range(times):
        generation.generate()
        let_retries_be_due()


def after(fake: FakeEngine, requests: int, act: Callable[[], None]) -> AbstractContextManager[None]:
    """``act`` once so many more requests have reached the engine."""
    start = len(fake.prompts_asked())
    return once(lambda: len(fake.prompts_asked()) >= start + requests, act)


@contextmanager
def once(look: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """``act``, in a thread of its own beside the block, once ``look`` is true."""

    def wait_and_act() -> None:
        eventually(look, PATIENCE, "the moment to act")
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield
    thread.join(PATIENCE)


def test_every_prompt_gets_its_candidates_from_both_samplings_and_a_comparison(settings: Settings) -> None:
    batch_of(20)
    assert generation.generate() == 20, counts()
    assert counts() == {"ready": 20, "candidates": 80, "comparisons": 20}
    assert_nothing_lost_or_doubled()
    with session_scope() as session:
        first = session.scalars(select(Candidate).order_by(Candidate.id)).all()[:4]
    assert {candidate.sampling["temperature"] for candidate in first} == {0.7, 1.0}
    assert {candidate.engine_version for candidate in first} == {"vllm 0.0-fake"}
    assert {candidate.finish_reason for candidate in first} == {"stop"}
    assert all(candidate.completion_tokens > 0 and candidate.prompt_tokens > 0 for candidate in first)


def test_nothing_due_asks_nothing(settings: Settings, fake: FakeEngine) -> None:
    assert generation.generate() == 0
    assert fake.asked == []


def test_an_engine_that_is_not_ready_is_left_alone(settings: Settings, fake: FakeEngine) -> None:
    batch_of(2)
    with session_scope() as session:
        registry.note_engine(session, settings.engine_url, EngineState.AWAY, error="no connection")
    assert generation.generate() == 0
    assert fake.asked == []


def test_many_requests_are_in_flight_and_never_more_than_the_setting(settings: Settings, fake: FakeEngine) -> None:
    batch_of(30)
    busiest, lock, running, full = 0, threading.Lock(), 0, threading.Event()
    reply, answer = fake.note, fake.reply

    def note(body: dict[str, object]) -> Mode | None:
        nonlocal busiest, running
        with lock:
            running += 1
            busiest = max(busiest, running)
            if running >= settings.engine_concurrency:
                full.set()
        return reply(body)

    def done(body: dict[str, object], mode: Mode | None) -> dict[str, object]:
        nonlocal running
        full.wait(settings.engine_timeout)  # nobody is answered before as many ask as may
        with lock:
            running -= 1
        return answer(body, mode)

    fake.note, fake.reply = note, done  # type: ignore[method-assign]
    generation.generate()
    assert busiest == settings.engine_concurrency
    assert_nothing_lost_or_doubled()


@pytest.mark.parametrize(
    "mode",
    [Mode.ERROR, Mode.TRUNCATED, Mode.NOT_JSON, Mode.EMPTY, Mode.NUL, Mode.SURROGATE, Mode.HUGE, Mode.WRONG_COUNT],
)
def test_a_prompt_that_fails_every_time_is_quarantined_and_the_rest_proceed(
    settings: Settings, fake: FakeEngine, mode: Mode
) -> None:
    batch_of(6, "the poisonous one")
    fake.fault(mode, match="poisonous")
    run_until_nothing_is_pending()
    assert counts() == {"ready": 6, "quarantined": 1, "candidates": 24, "comparisons": 6}
    prompt = quarantined()
    assert prompt.attempts == settings.generation_tries
    assert prompt.last_error
    assert_nothing_lost_or_doubled()


@pytest.mark.slow
def test_a_prompt_that_hangs_the_engine_for_itself_alone_is_quarantined_too(
    impatient: Settings, fake: FakeEngine
) -> None:
    batch_of(3, "the slow one")
    fake.fault(Mode.HANG, match="slow")
    run_until_nothing_is_pending()
    assert counts()["ready"] == 3
    assert "within 3 s" in (quarantined().last_error or "")


def test_a_fault_that_passes_costs_a_try_and_nothing_else(settings: Settings, fake: FakeEngine) -> None:
    batch_of(5)
    fake.fault(Mode.TRUNCATED, times=2)
    run_until_nothing_is_pending()
    assert counts() == {"ready": 5, "candidates": 20, "comparisons": 5}
    assert_nothing_lost_or_doubled()


def test_a_prompt_that_is_too_long_is_quarantined_at_once_with_the_reason(settings: Settings) -> None:
    batch_of(1, "x" * 3000)
    generation.generate()
    prompt = quarantined()
    assert prompt.attempts == 1
    assert "context length is 2,048" in (prompt.last_error or "")
    assert counts()["ready"] == 1


def test_identical_answers_are_quarantined_with_what_to_do(settings: Settings, fake: FakeEngine) -> None:
    batch_of(0, "Say yes.")
    fake.fault(Mode.IDENTICAL)
    run_until_nothing_is_pending()
    assert "temperature" in (quarantined().last_error or "")


def test_the_engine_going_away_pauses_counts_nothing_and_says_so(settings: Settings, fake: FakeEngine) -> None:
    batch_of(30)
    fake.fault(Mode.HANG, match="number 2")  # eleven prompts are still asked about when it dies
    with once(lambda: counts().get("ready", 0) > 0, fake.stop):
        generation.generate()
    left = counts()
    assert 0 < left["ready"] < 30
    assert left["ready"] + left["pending"] == 30
    with session_scope() as session:
        view = engine_view(session, settings.engine_url)
        assert session.scalars(select(Prompt.attempts).distinct()).all() == [0]
    assert view.state is EngineState.AWAY
    assert "connection" in (view.error or "")  # refused, or dropped where one was still open
    assert_nothing_lost_or_doubled()


def test_a_database_that_restarts_is_waited_for_and_no_answer_is_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_of(3)
    record = ledger.record_candidates
    restarts = iter([OperationalError("SELECT", {}, Exception("the database system is shutting down"))] * 2)

    def record_later(*given: Any) -> bool:
        for error in restarts:
            raise error
        return bool(record(*given))

    monkeypatch.setattr(generation, "DATABASE_DELAYS", (0.0,) * 4)
    monkeypatch.setattr(ledger, "record_candidates", record_later)
    assert generation.generate() == 3
    assert counts() == {"ready": 3, "candidates": 12, "comparisons": 3}
    assert_nothing_lost_or_doubled()


def test_a_database_that_stays_away_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []

    def away() -> None:
        tries.append(1)
        raise OperationalError("SELECT", {}, Exception("no route to host"))

    monkeypatch.setattr(generation, "DATABASE_DELAYS", (0.0,) * 3)
    with pytest.raises(OperationalError, match="no route to host"):
        asyncio.run(generation._patiently(away))
    assert len(tries) == 4


def test_a_paused_batch_is_claimed_no_further(settings: Settings, fake: FakeEngine) -> None:
    batch_of(40)
    fake.delay = 0.1

    def pause() -> None:
        with session_scope() as session:
            session.scalars(select(Batch)).one().state = BatchState.PAUSED

    with after(fake, 5, pause):
        generation.generate()
    left = counts()
    assert left["ready"] > 0
    assert left["pending"] > 0
    assert "generating" not in left


def test_a_worker_that_shuts_down_gives_everything_back(settings: Settings, fake: FakeEngine) -> None:
    batch_of(40)
    fake.delay = 0.5
    with after(fake, 5, stopping.request):
        generation.generate()
    left = counts()
    assert "generating" not in left
    assert left["pending"] > 0
    assert_nothing_lost_or_doubled()


def test_a_batch_overrides_the_sampling(settings: Settings, fake: FakeEngine) -> None:
    batch_of(1, wanted=2)
    with session_scope() as session:
        session.scalars(select(Batch)).one().sampling = {"temperature": 0.3}
    generation.generate()
    assert {asked["temperature"] for asked in fake.asked} == {0.3}


def test_a_mistake_of_ours_costs_one_prompt_a_try_and_not_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_of(3, "the odd one")
    with monkeypatch.context() as patched:
        patched.setattr("workers.tasks.generation.sampling_of", lambda *_: 1 / 0)
        generation.generate()
    assert counts() == {"pending": 4, "candidates": 0, "comparisons": 0}
    let_retries_be_due()
    generation.generate()
    assert counts()["ready"] == 4
