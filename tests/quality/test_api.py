"""The JSON of reviewing."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Review
from app.quality.forms import GoldIn, GoldList, ReviewedOut, ReviewOut, SaidList, VerdictIn
from tests.factories import make_annotation, make_user, sign_in

URL = "/api/v1/review"


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def api(client: TestClient, session: Session) -> TestClient:
    return sign_in(client, make_user(session, Role.REVIEWER, "Rita"))


def test_annotations_are_listed_and_read_without_their_models(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice, edited_text="Better.", comment="Because.")
    (row,) = api.get(f"{URL}/annotations?show=edited").json()["annotations"]
    assert (row["id"], row["annotator"], row["verdict"]) == (said.id, alice.pseudonym, None)
    one = api.get(f"{URL}/annotations/{said.id}").json()
    assert one["said"]["comment"] == "Because."
    assert len(one["responses"]) == 2
    assert one["said"]["edits"] == {"AB"[said.order_shown.index(said.edited_candidate_id or 0)]: "Better."}
    assert "zebra" not in json.dumps([row, one])
    assert "candidate" not in json.dumps([row, one])


def test_a_review_is_written_once(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    url, headers = f"{URL}/annotations/{said.id}/reviews", {"idempotency-key": "one"}
    assert api.post(url, json={"verdict": "returned"}).status_code == 422
    for _ in range(2):
        answer = api.post(url, json={"verdict": "returned", "note": "Check again."}, headers=headers)
        assert (answer.status_code, answer.json()["note"]) == (201, "Check again.")
    assert session.scalar(select(func.count()).select_from(Review)) == 1
    assert api.get(f"{URL}/annotations/{said.id}").json()["reviews"][0]["verdict"] == "returned"


def test_known_answers_are_made_retired_and_brought_back(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    made = api.post(f"{URL}/annotations/{said.id}/gold", json={"explanation": "Plain."})
    assert made.status_code == 201
    item = made.json()
    assert (item["from_annotation_id"], item["retired"]) == (said.id, False)
    assert api.post(f"{URL}/annotations/{said.id}/gold", json={"explanation": "Again."}).status_code == 409
    assert api.post(f"{URL}/gold/{item['id']}/retire").json()["retired"] is True
    assert api.post(f"{URL}/gold/{item['id']}/restore").json() == item
    assert api.get(f"{URL}/gold?batch_id={item['batch_id']}").json() == {"items": [item], "next": None}


def test_an_undecided_qualification_cannot_be_reset(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    item = api.post(f"{URL}/annotations/{said.id}/gold", json={"explanation": "Plain."}).json()
    assert api.post(f"{URL}/qualifications/{item['batch_id']}/{alice.id}/reset").status_code == 409


@pytest.mark.parametrize("model", [VerdictIn, GoldIn, ReviewOut, SaidList, ReviewedOut, GoldList])
def test_an_example_is_what_the_endpoint_takes_or_answers(model: type[BaseModel]) -> None:
    (example,) = model.model_json_schema()["examples"]
    assert model.model_validate(example).model_dump(mode="json").keys() >= example.keys()
