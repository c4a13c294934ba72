"""Generation runs ahead of the people who judge, by so much, and makes more as they work."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, text

from app.annotations import service as annotating
from app.candidates import service as ledger
from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings
from app.registry import service as registry
from app.registry.models import Checkpoint
from tests.engine_faults import Mode
from tests.factories import make_user
from tests.fake_engine import FakeEngine
from tests.generating import (
    assert_nothing_lost_or_doubled,
    batch_of,
    load_all,
    quarantined,
    register_policy,
    settings_for,
)
from workers.tasks import generation
from workers.tasks.sweeper import sweep

pytestmark = pytest.mark.usefixtures("base_is_served")


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
