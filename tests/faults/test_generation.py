"""Whatever ends while candidates are generated: nothing is lost, nothing is doubled, and it goes on by itself."""

from __future__ import annotations

import random
import signal

import psutil
import pytest
from sqlalchemy import select

from app.kernel.db import session_scope
from app.kernel.jobs import Queue
from app.prompts.models import Prompt, PromptState
from tests.faults.rig import Rig, all_settled, assert_nothing_is_wrong, eventually
from tests.generating import counts, open_batch
from tests.patience import PATIENCE

pytestmark = [pytest.mark.faults, pytest.mark.slow]

GENERATION = Queue.GENERATION.value


def give_work(count: int, first: int = 0) -> list[str]:
    """A batch of ``count`` prompts; their external ids."""
    with session_scope() as session:
        batch = open_batch(session, [f"Question number {number}?" for number in range(first, first + count)])
        return list(session.scalars(select(Prompt.external_id).where(Prompt.batch_id == batch.id).order_by(Prompt.id)))


def prompt(external_id: str) -> Prompt:
    with session_scope() as session:
        return session.scalars(select(Prompt).where(Prompt.external_id == external_id)).one()


@pytest.mark.parametrize("seed", [1])
def test_killing_the_generation_worker_at_ten_random_points_loses_and_doubles_nothing(rig: Rig, seed: int) -> None:
    rig.environment["CORRAL_GENERATION_TRIES"] = "50"  # ten kills may hit the same prompt often
    rig.engine.delay = 0.1
    give_work(100)
    rig.start_all()
    dice = random.Random(seed)
    for kill in range(10):
        rig.engine.wait_for(dice.randint(5, 25))
        if kill % 5 == 4:
            orphans = rig.kill(GENERATION)
            rig.start_worker(Queue.GENERATION)
            _, left = psutil.wait_procs(orphans, timeout=PATIENCE)
            assert left == [], "a pool child leaves when its worker is gone"
        else:
            eventually(lambda: rig.kill_child(GENERATION), "a pool child to kill")
    eventually(lambda: all_settled(100), "all prompts settled", 150)
    assert counts() == {"ready": 100, "candidates": 400, "comparisons": 100}
    assert_nothing_is_wrong()


@pytest.mark.parametrize("place", ["generation.asked", "generation.recording"])
def test_a_poison_prompt_is_quarantined_after_three_tries_and_the_rest_proceed(rig: Rig, place: str) -> None:
    ids = give_work(12)
    rig.environment["CORRAL_FAILPOINT"] = f"{place}:{ids[3]}"
    rig.environment["CORRAL_GENERATION_LEASE"] = (
        "8"  # a busy machine takes longer than 3 s to renew one, and others pay
    )
    rig.start_all()
    eventually(lambda: all_settled(12), "all prompts settled")
    assert counts() == {"ready": 11, "quarantined": 1, "candidates": 44, "comparisons": 11}
    poison = prompt(ids[3])
    assert (poison.state, poison.attempts) == (PromptState.QUARANTINED, 3)
    assert "worker stopped" in (poison.last_error or "")
    assert_nothing_is_wrong()


def test_dying_just_after_the_commit_repeats_nothing(rig: Rig) -> None:
    ids = give_work(8)
    rig.environment["CORRAL_FAILPOINT"] = f"generation.recorded:{ids[2]}"
    rig.start_all()
    eventually(lambda: all_settled(8), "all prompts settled")
    assert counts() == {"ready": 8, "candidates": 32, "comparisons": 8}
    assert prompt(ids[2]).attempts == 0
    assert_nothing_is_wrong()


def test_a_flushed_and_a_stopped_broker_lose_no_work(rig: Rig) -> None:
    rig.engine.delay = 0.1
    give_work(30)
    rig.start_all()
    eventually(lambda: len(rig.engine.prompts_asked()) > 5, "generation has begun")
    rig.flush_broker()
    rig.kill("broker")
    give_work(10, first=100)  # an import while the broker is away
    eventually(lambda: counts().get("ready", 0) >= 30, "what was begun goes on without a broker")
    rig.start_broker()
    rig.flush_broker()
    eventually(lambda: all_settled(40), "the new batch is noticed unaided", 120)
    assert counts() == {"ready": 40, "candidates": 160, "comparisons": 40}
    assert_nothing_is_wrong()


def test_the_engine_dies_and_comes_back_and_no_prompt_pays_for_it(rig: Rig) -> None:
    rig.engine.delay = 0.1
    rig.engine.dies_after = 15
    give_work(30)
    rig.start_all()
    eventually(lambda: not rig.engine.alive, "the engine has died")
    eventually(lambda: counts().get("pending", 0) > 0 and "generating" not in counts(), "everything was given back")
    assert_nothing_is_wrong()
    rig.engine.start()
    eventually(lambda: all_settled(30), "all prompts settled")
    assert counts() == {"ready": 30, "candidates": 120, "comparisons": 30}
    with session_scope() as session:
        assert session.scalars(select(Prompt.attempts).distinct()).all() == [0]
    assert_nothing_is_wrong()


def test_a_worker_that_is_asked_to_stop_gives_its_prompts_back_first(rig: Rig) -> None:
    rig.engine.delay = 1.0
    give_work(40)
    rig.start_all()
    eventually(lambda: len(rig.engine.prompts_asked()) > 5, "generation has begun")
    worker = rig.processes[GENERATION]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert "generating" not in counts()
    assert counts()["pending"] > 0
    assert_nothing_is_wrong()
