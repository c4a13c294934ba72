"""Annotators are blind: nothing that names a policy, or tells two apart, reaches them before they have judged."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.annotations import service
from app.candidates.models import Candidate
from app.comparisons import service as comparing
from tests.annotations.test_pages import EXCHANGE, form, start
from tests.factories import (
    make_batch,
    make_candidate,
    make_comparison,
    make_deployment,
    make_prompt,
    make_user,
    sign_in,
)

FIRST_ID = 918_273_645
"""Candidate ids start here, so that one in an answer cannot be mistaken for another number."""
SECRETS = ("zebra-base", "okapi-policy", "focused", "varied", "finch-engine", "0.737", "stop_was_here")


@pytest.fixture
def answers(client: TestClient, session: Session) -> list[Any]:
    """Everything that the server told Alice, from the start page to the last submit."""
    session.execute(text(f"ALTER SEQUENCE candidates_id_seq RESTART WITH {FIRST_ID}"))
    sign_in(client, make_user(session))
    batch = make_batch(session)
    sources = [make_deployment(session, "zebra-base", "focused"), make_deployment(session, "okapi-policy", "varied")]
    for _ in range(2):
        prompt = make_prompt(session, batch)
        for index, source in enumerate(sources):
            make_candidate(
                session,
                prompt,
                f"An answer, {'long' * index}",
                deployment=source,
                engine_version="finch-engine 0.737",
                finish_reason="stop_was_here",
            )
        comparing.create_comparison(session, prompt)
        session.commit()
    heard: list[Any] = []
    client.event_hooks["response"].append(heard.append)
    client.get("/annotate")
    item = start(client)
    page = client.get(item)
    api = f"/api/v1{item}"
    client.post("/api/v1/annotate/next")
    client.get(api)
    client.put(f"{api}/draft", json={"version": 0, "draft": {"edits": {"A": "An answer"}}})
    client.put(f"{api}/draft", json={"version": 0, "draft": {}})
    client.post(f"{api}/lease")
    client.post(f"{item}/submit", data=form(page), headers=EXCHANGE)
    client.post(f"{item}/submit", data=form(page, choice="A3"), headers=EXCHANGE)
    second = client.get("/annotate").headers["location"]
    judged = {"fencing_token": 1, "outcome": "tie"}
    client.post(f"/api/v1{second}/submit?next=true", json=judged, headers={"idempotency-key": "k"})
    client.get(second)
    return heard


def test_no_answer_names_a_policy_or_a_candidate(answers: list[Any], session: Session) -> None:
    ids = [str(number) for number in session.query(Candidate.id).order_by(Candidate.id)]
    assert len(ids) == 4
    assert len(answers) >= 12
    for answer in answers:
        answer.read()
        said = answer.text + json.dumps(dict(answer.headers)) + str(answer.url)
        for secret in (*SECRETS, str(FIRST_ID)[:6]):
            assert secret not in said, f"{answer.request.method} {answer.url} says {secret}"


def test_no_answer_has_room_for_more_than_texts_and_positions(answers: list[Any]) -> None:
    items = [answer.json() for answer in answers if answer.url.path == "/api/v1/annotate/next"]
    assert items
    for item in items:
        assert [set(response) for response in item["responses"]] == [{"position", "text", "steps"}] * 2


def test_the_order_shown_does_not_follow_the_order_of_sampling(session: Session) -> None:
    comparison = make_comparison(session, wanted=20)
    firsts = set()
    for _ in range(20):
        assignment = service.next_assignment(session, make_user(session))
        assert assignment is not None
        assert assignment.comparison_id == comparison.id
        firsts.add(assignment.order_shown[0])
    assert len(firsts) == 2
