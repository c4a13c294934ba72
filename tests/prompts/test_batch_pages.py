"""Bob opens, pauses and closes; Rita reads; Alice and Charlie are refused."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.comparisons.models import Comparison
from app.kernel.jobs import Job
from app.prompts.models import Batch, BatchState, PromptState
from tests.factories import (
    make_assignment,
    make_batch,
    make_candidate,
    make_comparison,
    make_deployment,
    make_prompt,
    make_user,
    sign_in,
)
from tests.prompts.pages import count, jsonl, upload


# ── States ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_batch_opens_pauses_opens_again_and_closes_for_good(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session, state=BatchState.PREPARING)

    def press(button: str) -> int:
        status = client.post(f"/batches/{batch.id}/{button}").status_code
        session.refresh(batch)
        return status

    assert (press("open"), batch.state) == (303, BatchState.OPEN)
    opened = batch.opened_at
    assert (press("pause"), batch.state) == (303, BatchState.PAUSED)
    assert (press("open"), batch.state, batch.opened_at) == (303, BatchState.OPEN, opened)
    assert (press("open"), batch.state) == (303, BatchState.OPEN)
    assert (press("close"), batch.state) == (303, BatchState.CLOSED)
    assert batch.closed_at is not None
    assert (press("open"), batch.state) == (409, BatchState.CLOSED)
    actions = session.scalars(select(AuditEvent.details).where(AuditEvent.action == "batch.state")).all()
    assert [event["after"] for event in actions] == ["open", "paused", "open", "closed"]


def test_a_batch_in_preparation_cannot_be_paused(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session, state=BatchState.PREPARING)

    assert client.post(f"/batches/{batch.id}/pause").status_code == 409


def test_bob_edits_the_guidelines_and_the_old_ones_are_kept_in_the_trail(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session, guidelines="Old.")

    client.post(f"/batches/{batch.id}/guidelines", data={"guidelines": "New:\r\n- one"})

    session.refresh(batch)
    assert batch.guidelines == "New:\n- one"
    event = session.scalars(select(AuditEvent).where(AuditEvent.action == "batch.guidelines")).one()
    assert event.details == {"before": "Old.", "version": 2}
    wrong = client.post(f"/batches/{batch.id}/guidelines", data={"guidelines": "y" * 20_001})
    assert wrong.status_code == 422
    assert "yyyy" in wrong.text


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_progress_asks_again_while_something_moves_and_stops_when_it_is_final(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session, state=BatchState.PREPARING)
    prompt = make_prompt(session, batch)

    moving = client.get(f"/batches/{batch.id}/progress").text
    prompt.state = PromptState.READY
    session.commit()
    still = client.get(f"/batches/{batch.id}/progress").text

    assert 'hx-trigger="every 2s"' in moving
    assert "0 of 1" in moving
    assert "hx-trigger" not in still
    assert "1 of 1" in still
    assert "<html" not in still


def test_a_prompt_that_is_quarantined_meanwhile_appears_and_nobody_loses_their_place(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch)
    make_prompt(session, batch)
    url = f"/batches/{prompt.batch_id}/progress"
    assert 'id="quarantined"' not in client.get(url).text

    prompt.state, prompt.last_error = PromptState.QUARANTINED, "The engine said nothing."
    session.commit()
    shown = client.get(url).text

    assert "The engine said nothing." in shown
    assert f'action="/prompts/{prompt.id}/retry"' in shown
    assert 'hx-swap="outerMorph"' in shown, "a swap of the whole would take the focus out of what is focused"
    assert 'id="to-quarantined" href="#quarantined"' in shown
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert "/retry" not in client.get(url).text


def test_what_is_begun_in_a_paused_batch_waits_as_the_page_says(
    client: TestClient, session: Session, bob: User, rung: list[Job]
) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice)
    batch = f"/batches/{session.get_one(Comparison, held.comparison_id).batch_id}"
    tie = {"fencing_token": held.fencing_token, "outcome": "tie", "comment": "Both are right."}

    def submit() -> int:
        sign_in(client, alice)
        url = f"/api/v1/assignments/{held.id}/submit"
        answer = client.post(url, json=tie, headers={"idempotency-key": "one"})
        sign_in(client, bob)
        return answer.status_code

    client.post(f"{batch}/pause")
    assert "kept as a draft; they can submit it when the batch opens again" in client.get(batch).text
    assert submit() == 409
    session.refresh(held)
    assert held.draft
    assert held.draft["comment"] == "Both are right."

    client.post(f"{batch}/open")
    assert submit() == 200


def test_while_people_work_the_progress_asks_seldom(client: TestClient, session: Session, bob: User) -> None:
    comparison = make_comparison(session, wanted=2)

    shown = client.get(f"/batches/{comparison.batch_id}/progress").text

    assert 'hx-trigger="every 15s"' in shown
    assert "0 of 2" in shown


def test_what_waits_until_people_have_worked_is_said_to_and_is_not_asked_for_again_and_again(
    client: TestClient, session: Session, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.kernel.settings import get_settings

    settings = get_settings().model_copy(update={"generation_ahead": 1})
    monkeypatch.setattr("app.batches.queries.get_settings", lambda: settings)
    comparison = make_comparison(session)
    batch = session.get_one(Batch, comparison.batch_id)
    for _ in range(2):
        make_prompt(session, batch)

    opened = client.get(f"/batches/{batch.id}/progress").text
    batch.state = BatchState.PREPARING
    session.commit()
    preparing = client.get(f"/batches/{batch.id}/progress").text
    comparison.seats_free = 0
    session.commit()
    taken = client.get(f"/batches/{batch.id}/progress").text

    said = "The other 2 prompts get their responses as people work"
    assert "1 unstarted comparison is ready" in opened
    assert said in opened
    assert 'hx-trigger="every 15s"' in opened
    assert f"{said}, from the models then in rotation. Open the batch to let annotators in." in preparing
    assert "hx-trigger" not in preparing
    assert "0 being answered now, 2 waiting" in taken
    assert 'hx-trigger="every 2s"' in taken


def test_an_engine_that_is_away_is_said(client: TestClient, session: Session, bob: User) -> None:
    from app.kernel.settings import get_settings
    from app.registry.models import EngineState, EngineStatus

    batch = make_batch(session)
    make_prompt(session, batch)
    session.add(EngineStatus(url=get_settings().engine_url, state=EngineState.AWAY, error="connection refused"))
    session.commit()

    shown = client.get(f"/batches/{batch.id}/progress").text

    assert "The engine has been unavailable" in shown
    assert "connection refused" in shown


def test_quarantined_prompts_show_why_and_can_be_tried_again(
    client: TestClient, session: Session, bob: User, rung: list[Job]
) -> None:
    batch = make_batch(session)
    prompts = [make_prompt(session, batch, f"Poison {n}") for n in range(3)]
    for prompt in prompts:
        prompt.state, prompt.last_error, prompt.attempts = PromptState.QUARANTINED, "The engine said nothing.", 3
    session.commit()
    assert "The engine said nothing." in client.get(f"/batches/{batch.id}").text

    client.post(f"/prompts/{prompts[0].id}/retry")
    session.refresh(prompts[0])
    assert (prompts[0].state, prompts[0].attempts, prompts[0].last_error) == (PromptState.PENDING, 0, None)

    client.post(f"/batches/{batch.id}/retry")
    session.refresh(prompts[2])
    assert prompts[2].state is PromptState.PENDING
    assert rung == [Job.GENERATE, Job.GENERATE]


def test_a_program_tries_them_again_as_well(client: TestClient, session: Session, bob: User, rung: list[Job]) -> None:
    batch = make_batch(session)
    prompts = [make_prompt(session, batch, f"Poison {n}", state=PromptState.QUARANTINED) for n in range(3)]
    assert client.post(f"/api/v1/prompts/{prompts[0].id}/retry").json() == {"prompts": 1}
    assert client.post(f"/api/v1/prompts/{prompts[0].id}/retry").json() == {"prompts": 0}, "it is under way"
    assert client.post(f"/api/v1/batches/{batch.id}/retry").json() == {"prompts": 2}
    assert rung == [Job.GENERATE, Job.GENERATE]


def test_a_prompt_that_is_ready_is_not_made_again(client: TestClient, session: Session, bob: User) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.READY)

    client.post(f"/prompts/{prompt.id}/retry")

    session.refresh(prompt)
    assert prompt.state is PromptState.READY


def test_the_prompts_of_a_batch_come_in_pages_that_lose_and_repeat_nothing(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session)
    names = [make_prompt(session, batch).external_id for _ in range(60)]
    url: str | None = f"/batches/{batch.id}"
    seen: list[str] = []
    while url:
        page = client.get(url).text
        seen += [name for name in names if f">{name}</a>" in page]
        following = page.split(">Next</a>")[0].rpartition('href="')[2] if ">Next</a>" in page else ""
        url = following.replace("&amp;", "&").split("#")[0].strip('">') or None

    assert seen == names


def test_the_list_of_batches_is_empty_in_words_and_pages_by_key(
    client: TestClient, session: Session, bob: User
) -> None:
    assert "No batch yet" in client.get("/batches").text

    names = [make_batch(session, name=f"batch number {n}").name for n in range(30)]
    first = client.get("/batches").text
    older = client.get("/batches?before=" + first.split("/batches?before=")[1].split('"')[0]).text

    assert [name for name in names if f">{name}<" in first] == names[5:]
    assert [name for name in names if f">{name}<" in older] == names[:5]


# ── Who sees what ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_bob_sees_which_checkpoint_answered_and_rita_does_not(client: TestClient, session: Session, bob: User) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.READY)
    source = make_deployment(session, "policy-r7")
    make_candidate(session, prompt, "Forty-two.", deployment=source, finish_reason="length", completion_tokens=4711)

    seen_by_bob = client.get(f"/prompts/{prompt.id}").text
    assert all(told in seen_by_bob for told in ("policy-r7", "stopped by length", "4,711 tokens"))
    (told,) = client.get(f"/api/v1/prompts/{prompt.id}").json()["candidates"]
    assert (told["checkpoint"], told["finish_reason"], told["completion_tokens"]) == ("policy-r7", "length", 4711)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    seen_by_rita = client.get(f"/prompts/{prompt.id}").text
    assert "Forty-two." in seen_by_rita
    assert not any(told in seen_by_rita for told in ("policy-r7", "stopped by", "length", "4,711"))
    (hidden,) = client.get(f"/api/v1/prompts/{prompt.id}").json()["candidates"]
    assert hidden == {"text": "Forty-two.", "trace": []} | dict.fromkeys(
        ("checkpoint", "sampling", "finish_reason", "completion_tokens")
    )


READING = ["/batches", "/batches/{batch}", "/batches/{batch}/progress", "/prompts/{prompt}"]
ADMIN_READING = ["/batches/new", "/uploads/{upload}"]
WRITING = [
    "/batches/new",
    "/batches/new/look",
    "/uploads/{upload}/confirm",
    "/uploads/{upload}/discard",
    "/batches/{batch}/open",
    "/batches/{batch}/pause",
    "/batches/{batch}/close",
    "/batches/{batch}/guidelines",
    "/batches/{batch}/retry",
    "/prompts/{prompt}/retry",
]


@pytest.fixture
def places(client: TestClient, session: Session, bob: User) -> dict[str, int]:
    page = upload(client, jsonl({"prompt": "One?"}))
    prompt = make_prompt(session, make_batch(session))
    return {"upload": int(page.rpartition("/")[2]), "batch": prompt.batch_id, "prompt": prompt.id}


@pytest.mark.parametrize("path", READING + ADMIN_READING)
def test_alice_and_strangers_read_none_of_it(
    client: TestClient, session: Session, places: dict[str, int], path: str
) -> None:
    sign_in(client, make_user(session, Role.ANNOTATOR, "Alice"))
    assert client.get(path.format(**places)).status_code in {403, 404}
    client.cookies.clear()
    assert client.get(path.format(**places)).headers["location"].startswith("/login")


@pytest.mark.parametrize("path", WRITING)
@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.REVIEWER, None])
def test_only_admins_write(
    client: TestClient, session: Session, places: dict[str, int], path: str, role: Role | None
) -> None:
    client.cookies.clear()
    if role:
        sign_in(client, make_user(session, role, "Charlie"))

    assert client.post(path.format(**places), data={"name": "x"}).status_code in {401, 403, 404}
    batch = session.get_one(Batch, places["batch"])
    session.refresh(batch)
    assert batch.state is BatchState.OPEN
    assert count(session, Batch) == 1


@pytest.mark.parametrize("path", READING)
def test_rita_reads(client: TestClient, session: Session, places: dict[str, int], path: str) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))

    page = client.get(path.format(**places))

    assert page.status_code == 200
    assert 'method="post" action="/batches' not in page.text


@pytest.mark.parametrize("path", [*READING[1:], "/uploads/{upload}"])
def test_what_does_not_exist_is_not_found(client: TestClient, bob: User, path: str) -> None:
    for key in (999, 0, -1, 2**63, 10**40):
        assert client.get(path.format(batch=key, prompt=key, upload=key)).status_code == 404
