from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import day, service
from app.annotations import queries as annotating
from app.dashboard import queries
from app.kernel.settings import get_settings
from app.loops.models import RoundState
from app.prompts.models import BatchState, PromptState
from app.registry.models import EngineState, EngineStatus
from tests.factories import (
    current_round,
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_prompt,
    make_user,
    sign_in,
)


def test_alice_sees_what_waits_for_her_and_starts_there(client: TestClient, session: Session) -> None:
    batch = make_batch(session, name="Everyday questions", guidelines="Prefer what is *true* <b>always</b>.")
    for _ in range(3):
        make_comparison(session, batch=batch)
    page = sign_in(client, make_user(session)).get("/").text
    assert "3 waiting" in page
    assert f'href="/annotate?batch={batch.id}"' in page
    assert "Prefer what is true" in page


def test_start_with_a_batch_leads_to_that_batch(client: TestClient, session: Session) -> None:
    batches = [make_batch(session, name=name) for name in ("First", "Second", "Third")]
    for batch in batches:
        make_comparison(session, batch=batch)
    alice = sign_in(client, make_user(session))
    for batch in batches:
        page = alice.get(f"/annotate?batch={batch.id}").text
        (focused,) = re.findall('name="batch" value="([0-9]+)">\\s*<button[^>]*autofocus', page)
        assert int(focused) == batch.id


def test_what_alice_has_had_does_not_wait_for_her(session: Session) -> None:
    alice, batch = make_user(session), make_batch(session, annotators_per_prompt=2)
    comparisons = [make_comparison(session, batch=batch) for _ in range(3)]
    make_annotation(session, alice, comparisons[0])
    assert [each.waiting for each in queries.open_batches(session, alice)] == [2]
    assert day.today(session, alice).done == 1
    charlie = make_user(session, name="Charlie")
    assert [each.waiting for each in queries.open_batches(session, charlie)] == [3]


@pytest.mark.parametrize("stopped", [False, True])
def test_a_comparison_begun_is_offered_first(client: TestClient, session: Session, *, stopped: bool) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice)
    if stopped:
        service.release(session, alice, held.id)
        session.commit()
    page = sign_in(client, alice).get("/").text
    assert "Continue where you stopped" in page
    assert "1 waiting" in page
    assert client.post("/annotate").headers["location"] == f"/assignments/{held.id}"


def test_what_alice_stopped_with_and_somebody_else_took_does_not_wait_for_her(
    client: TestClient, session: Session
) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    service.release(session, alice, make_assignment(session, alice, comparison).id)
    make_assignment(session, make_user(session, name="Charlie"), comparison)
    page = sign_in(client, alice).get("/").text
    assert "Continue" not in page
    assert "nothing waiting for you" in page


@pytest.mark.parametrize("state", [BatchState.PREPARING, BatchState.PAUSED, BatchState.CLOSED])
def test_a_batch_that_is_not_open_is_not_shown_to_annotators(
    client: TestClient, session: Session, state: BatchState
) -> None:
    make_batch(session, name="Not now", state=state)
    page = sign_in(client, make_user(session)).get("/").text
    assert "Not now" not in page
    assert "Nothing to annotate yet" in page


def test_an_annotator_learns_nothing_of_models_or_the_engine(client: TestClient, session: Session) -> None:
    make_comparison(session)
    session.add(EngineStatus(url=get_settings().engine_url, state=EngineState.AWAY, error="connection refused"))
    session.commit()
    page = sign_in(client, make_user(session)).get("/").text
    for word in ("zebra", "engine", "Round", "checkpoint", "connection refused"):
        assert word not in page


def test_the_counting_stops(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotating, "COUNT_UP_TO", 2)
    batch = make_batch(session)
    for _ in range(3):
        make_comparison(session, batch=batch)
    found = queries.open_batches(session, make_user(session))[0]
    assert (found.waiting, found.waiting_text) == (2, "2+")


def step(session: Session, role: Role) -> queries.Step | None:
    user = make_user(session, role)
    waiting = sum(each.waiting for each in queries.open_batches(session, user))
    return queries.next_step(user, queries.overview(session), waiting)


def test_the_next_step_follows_the_loop(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    current = current_round(session)
    first = step(session, Role.ADMIN)
    assert first
    assert first.url == "/batches/new"
    assert step(session, Role.REVIEWER) is None, "only an admin uploads"

    batch = make_batch(session, name="Fresh", state=BatchState.PREPARING)
    prompt = make_prompt(session, batch)
    busy = step(session, Role.ADMIN)
    assert busy
    assert busy.busy
    prompt.state = PromptState.READY
    session.commit()
    opening = step(session, Role.ADMIN)
    assert opening
    assert opening.url == f"/batches/{batch.id}"

    batch.state = BatchState.OPEN
    session.commit()
    make_comparison(session, batch=batch)
    for role in (Role.ADMIN, Role.REVIEWER):
        work = step(session, role)
        assert work
        assert work.title == "1 comparison waits"

    settings = get_settings().model_copy(update={"training_min_pairs": 1, "held_out_percent": 0})
    monkeypatch.setattr("app.rounds.readiness.get_settings", lambda: settings)
    make_annotation(session, make_user(session, name="Rita"))
    training = step(session, Role.ADMIN)
    assert training
    assert training.title == "Start a training: 1 new judgement"

    current.state = RoundState.TRAINING
    session.commit()
    watching = step(session, Role.REVIEWER)
    assert watching
    assert watching.busy


def test_a_batch_that_is_far_ahead_can_be_opened_and_its_prompts_are_not_said_to_be_generated(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = get_settings().model_copy(update={"generation_ahead": 1})
    monkeypatch.setattr("app.batches.queries.get_settings", lambda: settings)
    batch = make_batch(session, name="Long", state=BatchState.PREPARING)
    make_prompt(session, batch)
    busy = step(session, Role.ADMIN)
    assert busy
    assert busy.busy, "nothing is ready yet"
    make_comparison(session, batch=batch)
    opening = step(session, Role.ADMIN)
    assert opening
    assert opening.title == "Open the batch"
    assert opening.reason == "“Long” has enough responses to begin with; the others follow as people work."
    batch.state = BatchState.PAUSED
    session.commit()
    assert step(session, Role.REVIEWER) is None, "nothing is being generated"


def test_rita_sees_the_round_and_the_engine(client: TestClient, session: Session) -> None:
    make_comparison(session, batch=make_batch(session, name="Everyday questions"))
    session.add(EngineStatus(url=get_settings().engine_url, state=EngineState.AWAY, error="gone"))
    session.commit()
    page = sign_in(client, make_user(session, Role.REVIEWER, "Rita")).get("/").text
    assert "Round 1" in page
    assert "engine: unavailable" in page
    assert "0 of 1" in page
