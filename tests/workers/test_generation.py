"""The pump against a fake engine over real HTTP and a real database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from app.annotations import service as annotating
from app.candidates import service as ledger
from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings
from app.prompts.models import Batch, BatchState, Prompt, PromptState
from app.registry import service as registry
from app.registry.models import Checkpoint, EngineState
from app.registry.queries import engine_view
from tests.factories import make_user
from tests.fake_engine import FakeEngine, Mode
from tests.generating import (
    assert_nothing_lost_or_doubled,
    counts,
    load_all,
    open_batch,
    register_policy,
    serve_base,
    settings_for,
)
from tests.patience import PATIENCE, eventually
from workers import stopping
from workers.tasks import generation
from workers.tasks.sweeper import sweep


@pytest.fixture(autouse=True)
def base_is_served(settings: Settings) -> Iterator[None]:
    with session_scope() as session:
        serve_base(session, settings)
    yield
    stopping.clear()


def batch_of(count: int, *special: str, wanted: int = 4) -> None:
    with session_scope() as session:
        open_batch(session, [*special, *(f"Question number {number}?" for number in range(count))], wanted=wanted)


def let_retries_be_due() -> None:
    with session_scope() as session:
        session.execute(text("UPDATE prompts SET next_try_at = now() - interval '1 second'"))


def run_until_nothing_is_pending(times: int = 6) -> None:
    for _ in range(times):
        generation.generate()
        let_retries_be_due()


def quarantined() -> Prompt:
    with session_scope() as session:
        return session.scalars(select(Prompt).where(Prompt.state == PromptState.QUARANTINED)).one()


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


@pytest.fixture
def ahead(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many comparisons of a batch are made before somebody works."""
    settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), generation_ahead=3)
    return 3


def judge(count: int) -> None:
    """Somebody begins so many items of each batch."""
    with session_scope() as session:
        session.execute(
            text("""
                UPDATE comparisons SET seats_free = 0 WHERE id IN (
                    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY batch_id ORDER BY position) AS place
                                      FROM comparisons WHERE seats_free > 0) waits WHERE place <= :count)
            """),
            {"count": count},
        )


def test_generation_runs_ahead_by_so_much_and_goes_on_as_people_work(settings: Settings, ahead: int) -> None:
    batch_of(8, wanted=2)
    assert generation.generate() == ahead
    assert generation.generate() == 0
    with session_scope() as session:
        assert not ledger.work_is_due(session), "what waits for people is not rung for"
    judge(2)
    assert generation.generate() == 2
    judge(3)
    assert generation.generate() == 3
    judge(3)
    assert generation.generate() == 0, "all eight have their answers"
    assert_nothing_lost_or_doubled()


def test_a_batch_that_is_far_ahead_keeps_no_other_one_waiting(settings: Settings, ahead: int) -> None:
    batch_of(5, wanted=2)
    assert generation.generate() == ahead
    batch_of(5, "Why?", wanted=2)
    assert generation.generate() == ahead
    judge(1)
    assert generation.generate() == 2, "one of each"


def test_what_one_of_three_annotators_has_begun_makes_room(settings: Settings, ahead: int) -> None:
    batch_of(5, wanted=2)
    with session_scope() as session:
        session.execute(text("UPDATE batches SET annotators_per_prompt = 3"))
    assert generation.generate() == ahead
    with session_scope() as session:
        session.execute(text("UPDATE comparisons SET seats_free = 2 WHERE id = (SELECT min(id) FROM comparisons)"))
    assert generation.generate() == 1


def test_prompts_in_flight_count_as_ahead(settings: Settings, ahead: int) -> None:
    batch_of(5, wanted=2)
    with session_scope() as session:
        assert len(ledger.claim_prompts(session, 2)) == 2
    with session_scope() as session:
        assert len(ledger.claim_prompts(session, 9)) == ahead - 2
        assert ledger.claim_last_try(session) is None


def test_a_prompt_that_is_given_up_makes_room_for_the_next(settings: Settings, fake: FakeEngine, ahead: int) -> None:
    batch_of(4, "poison", wanted=2)
    fake.fault(Mode.REFUSED, match="poison")
    assert generation.generate() == ahead
    assert quarantined().messages[-1]["content"] == "poison"


def test_the_sweeper_rings_when_people_have_made_room(settings: Settings, ahead: int, rung: list[Job]) -> None:
    batch_of(5, wanted=2)
    generation.generate()
    rung.clear()
    sweep()
    assert Job.GENERATE not in rung
    judge(1)
    sweep()
    assert Job.GENERATE in rung


def test_somebody_who_finds_nothing_left_has_more_made_at_once(settings: Settings, ahead: int, rung: list[Job]) -> None:
    batch_of(5, wanted=2)
    assert generation.generate() == ahead
    with session_scope() as session:
        alice = make_user(session)
        rung.clear()
        for _ in range(ahead):
            held = annotating.next_assignment(session, alice)
            assert held is not None
            annotating.skip(session, alice, held.id, "next")
        session.execute(text("UPDATE comparisons SET seats_free = 0"))
        session.commit()
        assert rung == [], "an item that is found waits for no doorbell"
        assert annotating.next_assignment(session, alice) is None
    assert rung == [Job.GENERATE]


def test_a_new_challenger_is_in_what_people_make_room_for(
    settings: Settings, fake: FakeEngine, ahead: int, tmp_path: Path
) -> None:
    batch_of(40, wanted=2)
    generation.generate()
    with session_scope() as session:
        registry.challenge(session, register_policy(session, tmp_path / "policy-r1"))
        fake.adapters["policy-r1"] = str(tmp_path / "policy-r1")
        load_all(session)
        policy = session.scalars(select(Checkpoint.id).where(Checkpoint.name == "policy-r1")).one()
    for _ in range(4):
        judge(ahead)
        generation.generate()
    with session_scope() as session:
        met = set(session.scalars(select(Candidate.prompt_id).where(Candidate.checkpoint_id == policy)))
    assert len(met) >= 6, "four prompts in five"


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
