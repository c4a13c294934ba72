"""Whatever ends while responses are checked: no finding is lost or doubled, and it goes on by itself."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import func, select

from app.findings.models import STANDS, Check, CheckState, Finding
from app.kernel.db import session_scope
from app.kernel.jobs import Queue
from app.prompts.models import Prompt
from tests.faults.rig import Rig, all_settled, assert_nothing_is_wrong, eventually
from tests.generating import open_batch

pytestmark = [pytest.mark.faults, pytest.mark.slow]

CHECKS = Queue.CHECKS.value
PROMPTS, EACH = 12, 4


def give_work() -> None:
    """Prompts whose answers have to come to a number, so that each response is checked."""
    with session_scope() as session:
        batch = open_batch(session, [f"What is {number} + 1?" for number in range(PROMPTS)], wanted=EACH)
        for number, prompt in enumerate(session.scalars(select(Prompt).where(Prompt.batch_id == batch.id))):
            prompt.reference = str(number + 1)


def ended() -> int:
    with session_scope() as session:
        return session.scalar(select(func.count()).where(Check.state == CheckState.DONE)) or 0


def standing() -> dict[int, int]:
    """How many findings stand of each check."""
    with session_scope() as session:
        query = select(Check.id, func.count(Finding.id)).outerjoin(Finding, STANDS).group_by(Check.id)
        return dict(session.execute(query).all())


def test_killing_the_worker_that_checks_loses_and_doubles_no_finding(rig: Rig) -> None:
    rig.environment |= {"CORRAL_CHECK_TRIES": "50", "CORRAL_CHECK_LEASE": "3"}
    give_work()
    rig.start_all()
    eventually(lambda: all_settled(PROMPTS), "all prompts settled", 120)
    rig.start_worker(Queue.CHECKS)
    dice = random.Random(1)
    for kill in range(4):
        before = ended()
        eventually(lambda: ended() >= min(PROMPTS * EACH, before + dice.randint(1, 4)), "another check", 120)  # noqa: B023
        if kill == 2:
            rig.kill(CHECKS)
            rig.start_worker(Queue.CHECKS)
        else:
            eventually(lambda: rig.kill_child(CHECKS), "a pool child to kill")
    eventually(lambda: ended() == PROMPTS * EACH, "all responses checked", 150)

    assert set(standing().values()) == {1}, "each is checked by the one verifier that applies, once"
    assert_nothing_is_wrong()
