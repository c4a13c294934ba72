"""How long a training is said to take before it starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.accounts.models import User
from app.kernel.db import session_scope
from app.kernel.jobs import Job
from app.kernel.settings import Settings
from app.loops import queries as loops
from app.rounds import minutes
from app.rounds.models import RunKind, TrainingRun
from app.rounds.readiness import Readiness, readiness
from tests.rounds.conftest import check, train

Behave = Callable[[str], None]


def ready() -> Readiness:
    with session_scope() as session:
        current = loops.current_round(session)
        assert current is not None
        return readiness(session, current)


def test_what_is_bounded_costs_no_more_however_much_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "get_settings", lambda: Settings(training_samples=10, training_average=False))
    few, many = (minutes.units(trainable=90, policy=90, prompts=n, held_out=n) for n in (60, 6_000))
    assert few == many
    assert few[RunKind.SFT] == 50 * 10 * 256
    assert few[RunKind.CHECK] == 2 * 60 * 128


def test_a_first_training_is_guessed_and_a_later_one_known_by_the_last(
    bob: User, annotated: None, messages: list[tuple[Job, int]], queued: TrainingRun, fake_training: Behave
) -> None:
    assert ready().minutes >= 1
    train()
    check()
    with session_scope() as session:
        for run in session.scalars(select(TrainingRun)):
            assert run.started_at is not None
            run.finished_at = run.started_at + timedelta(hours=1)
        read = {run.kind: run.config["units"] for run in session.scalars(select(TrainingRun))}
        assert minutes.minutes(session, read) == 3 * 60
        twice = {kind: 2 * much for kind, much in read.items()}
        assert minutes.minutes(session, twice) == 6 * 60
