"""External models beside ours: asked at their own endpoint, and nobody waits for one that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.candidates.models import Candidate
from app.kernel.db import session_scope
from app.kernel.settings import Settings
from app.registry import externals
from app.registry import service as registry
from app.registry.models import Checkpoint, LoadState
from tests.engine_faults import Mode
from tests.fake_engine import FakeEngine
from tests.generating import assert_nothing_lost_or_doubled, counts, open_batch, serve_base, settings_for
from workers import stopping
from workers.tasks.generation import generate
from workers.tasks.serving import reconcile_serving


@pytest.fixture
def rival() -> Iterator[FakeEngine]:
    with FakeEngine(base="rival-large").running() as engine:
        yield engine


@pytest.fixture
def with_rival(settings: Settings, rival: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    there = json.dumps({"rival": {"url": rival.url, "key": "key-of-the-rival-x7Qp2LmZ"}})
    found = settings_for(monkeypatch, settings.engine_url, Path(settings.base_model_path), endpoints=there)
    with session_scope() as session:
        serve_base(session, found)
        add(session)
    yield found
    stopping.clear()


def add(session: Session) -> None:
    said = {"name": "rival", "endpoint": "rival", "model": "rival-large", "note": ""}
    externals.add_external(session, **said, may_train=False, sampling={"temperature": 0.5})


def state_of(name: str) -> tuple[LoadState, str | None]:
    with session_scope() as session:
        [found] = [each for each in registry.in_rotation(session) if each.checkpoint.name == name]
        return found.load_state, found.load_error


def written_by() -> dict[str, int]:
    with session_scope() as session:
        query = select(Checkpoint.name, func.count()).join(Candidate, Candidate.checkpoint_id == Checkpoint.id)
        return dict(session.execute(query.group_by(Checkpoint.name)).all())


def ask(count: int, **more: Any) -> None:
    with session_scope() as session:
        open_batch(session, [f"Question number {number}?" for number in range(count)], **more)


def test_a_rival_is_sampled_at_its_own_endpoint_beside_the_champion(
    with_rival: Settings, fake: FakeEngine, rival: FakeEngine
) -> None:
    reconcile_serving()
    assert state_of("rival") == (LoadState.LOADED, None)
    ask(6)
    generate()

    assert counts()["ready"] == 6
    assert written_by() == {"tiny-base": 12, "rival": 12}
    sampled = [body for body in rival.asked if body.get("max_tokens") != 1]
    assert {body["model"] for body in sampled} == {"rival-large"}
    assert {body["temperature"] for body in sampled} == {0.5}
    assert not fake.adapters
    assert_nothing_lost_or_doubled()


def test_what_a_batch_asks_of_vllm_alone_is_not_sent_to_a_rival(with_rival: Settings, rival: FakeEngine) -> None:
    reconcile_serving()
    with session_scope() as session:
        batch = open_batch(session, ["Why?"])
        batch.sampling = {"min_p": 0.1, "top_p": 0.5}
    generate()

    [*_, sent] = rival.asked
    assert "min_p" not in sent
    assert sent["top_p"] == 0.5


def test_a_rival_that_goes_away_leaves_the_rotation_and_nothing_waits_for_it(
    with_rival: Settings, rival: FakeEngine
) -> None:
    reconcile_serving()
    rival.stop()
    ask(5)
    generate()
    assert state_of("rival")[0] is LoadState.FAILED
    with session_scope() as session:
        session.execute(text("UPDATE prompts SET next_try_at = now() - interval '1 second'"))
    generate()

    assert counts() | {"candidates": 0} == {"ready": 5, "candidates": 0, "comparisons": 5}
    assert written_by() == {"tiny-base": 20}
    state, why = state_of("rival")
    assert state is LoadState.FAILED
    assert why == "The engine does not accept connections."
    assert_nothing_lost_or_doubled()

    rival.start()
    reconcile_serving()
    assert state_of("rival") == (LoadState.LOADED, None)


@pytest.mark.parametrize("mode", [Mode.REFUSED, Mode.ERROR, Mode.EMPTY])
def test_what_a_rival_will_not_answer_the_champion_does(with_rival: Settings, rival: FakeEngine, mode: Mode) -> None:
    reconcile_serving()
    rival.fault(mode, match="number 1")
    ask(3)
    generate()

    assert counts()["ready"] == 3
    assert written_by() == {"tiny-base": 8, "rival": 4}
    assert state_of("rival")[0] is LoadState.LOADED


def test_one_that_answers_is_not_asked_again_by_the_reconciler(with_rival: Settings, rival: FakeEngine) -> None:
    reconcile_serving()
    once = len(rival.asked)
    reconcile_serving()

    assert once == len(rival.asked) == 1


def test_an_endpoint_that_was_taken_away_is_named(with_rival: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_for(monkeypatch, with_rival.engine_url, Path(with_rival.base_model_path), endpoints="{}")
    reconcile_serving()

    assert state_of("rival") == (
        LoadState.FAILED,
        "No endpoint called rival is set up: add it to CORRAL_ENDPOINTS.",
    )


def test_a_rival_alone_is_never_the_champion(with_rival: Settings) -> None:
    reconcile_serving()
    with session_scope() as session:
        for each in registry.in_rotation(session):
            if each.checkpoint.name != "rival":
                registry.mark_waiting(session, each.id)
        assert registry.serving(session).champion is None
    ask(2)
    generate()

    assert counts() == {"pending": 2, "candidates": 0, "comparisons": 0}


def test_another_base_model_retires_ours_and_leaves_the_rival(with_rival: Settings) -> None:
    with session_scope() as session:
        registry.ensure_base(session, "/models/another")
        assert {each.checkpoint.name for each in registry.in_rotation(session)} == {"another", "rival"}
