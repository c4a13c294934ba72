"""The JSON of the desk."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Review
from app.desk import forms
from tests.factories import make_annotation, make_comparison, make_user, sign_in

URL = "/api/v1/desk"


@pytest.fixture
def api(client: TestClient, session: Session) -> TestClient:
    return sign_in(client, make_user(session, Role.ADMIN, "Bob"))


def test_annotations_are_found_and_acted_on(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice, comment="About otters.", strengths=[4])
    make_annotation(session, alice)
    found = api.get(f"{URL}/annotations", params={"q": '"about otters"', "strength": 4, "limit": 1}).json()
    (row,) = found["annotations"]
    assert (row["id"], row["seen"], row["annotator"], found["next"]) == (said.id, 0, alice.pseudonym, None)
    assert found["whole"] is True
    assert "zebra" not in json.dumps(found)
    assert api.get(f"{URL}/chosen", params={"q": "otters"}).json() == {
        "rows": [{"id": said.id, "seen": 0}],
        "whole": True,
    }
    rows = {"rows": [{"id": said.id, "seen": 0}]}
    assert api.post(f"{URL}/return", json=rows).status_code == 422
    for _ in range(2):
        done = api.post(
            f"{URL}/return", json=rows | {"note": "Check the year."}, headers={"idempotency-key": "one"}
        ).json()
        assert (done["done"], done["left"], done["said"]) == ([said.id], [], "Returned 1 annotation.")
    assert session.scalar(select(func.count()).select_from(Review)) == 1
    done = api.post(f"{URL}/accept", json=rows).json()
    assert done["left"] == [{"id": said.id, "why": "reviewed meanwhile"}]
    review = api.get(f"{URL}/annotations").json()["annotations"][1]["seen"]
    rows["rows"][0]["seen"] = review
    assert api.post(f"{URL}/accept", json=rows).json()["done"] == [said.id]


def test_an_item_is_read_and_decided(api: TestClient, session: Session) -> None:
    item = make_comparison(session, wanted=2, texts=["Alpha.", "Beta."])
    one, two = (make_annotation(session, make_user(session), item) for _ in range(2))
    read = api.get(f"{URL}/annotations/{one.id}").json()
    assert [each["annotation_id"] for each in read["judgements"]] == [one.id, two.id]
    assert read["judgements"][0]["said"]["ranking"] == read["judgements"][1]["said"]["ranking"]
    assert sorted(read["responses"]) == ["Alpha.", "Beta."]
    assert "candidate" not in json.dumps(read)
    made = api.post(f"{URL}/annotations/{two.id}/holds", json={"reason": "It gives a source."})
    assert (made.status_code, made.json()["annotation_id"]) == (201, two.id)
    read = api.get(f"{URL}/annotations/{one.id}").json()
    assert [each["overruled"] for each in read["judgements"]] == [True, False]
    assert read["adjudications"][0]["ended_at"] is None
    assert api.post(f"{URL}/annotations/{two.id}/reopen").status_code == 204
    assert api.get(f"{URL}/annotations/{one.id}").json()["adjudications"][0]["ended_at"] is not None


def test_many_are_retracted(api: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    done = api.post(f"{URL}/retract", json={"rows": [{"id": said.id}], "reason": "Swapped sides."}).json()
    assert (done["act"], done["done"]) == ("retract", [said.id])


def test_items_are_assigned_and_taken_back(api: TestClient, session: Session, alice: User) -> None:
    said, bea = make_annotation(session, alice), make_user(session, name="Bea")
    rows = {"rows": [{"id": said.id}]}
    assert api.post(f"{URL}/assign", json=rows).status_code == 422
    for _ in range(2):
        done = api.post(f"{URL}/assign", json=rows | {"people": [bea.id]}, headers={"idempotency-key": "one"}).json()
        assert done == {
            "act": "assign",
            "done": [said.id],
            "left": [],
            "said": "Assigned the item of 1 annotation to Bea.",
        }
    (row,) = api.get(f"{URL}/annotations").json()["annotations"]
    assert row["assigned"] is True
    again = api.post(f"{URL}/assign", json=rows | {"people": [bea.id]}).json()
    assert again["left"] == [{"id": said.id, "why": "it waits for them already"}]
    assert api.post(f"{URL}/unassign", json=rows).json()["done"] == [said.id]
    assert api.get(f"{URL}/annotations").json()["annotations"][0]["assigned"] is False


def test_views_are_kept_listed_and_deleted(api: TestClient) -> None:
    made = api.post(f"{URL}/views", json={"name": "Mine", "filters": "edited=1"})
    assert made.status_code == 201
    assert api.get(f"{URL}/views").json() == {"views": [made.json()]}
    assert api.delete(f"{URL}/views/{made.json()['id']}").status_code == 204
    assert api.delete(f"{URL}/views/{made.json()['id']}").status_code == 404


@pytest.mark.parametrize(
    "model",
    [
        forms.RowsIn,
        forms.ReturnIn,
        forms.RetractIn,
        forms.AssignIn,
        forms.HoldsIn,
        forms.ViewIn,
        forms.RowOut,
        forms.DeskList,
        forms.ChosenOut,
        forms.DoneOut,
        forms.ViewOut,
        forms.ViewList,
    ],
)
def test_an_example_is_what_the_endpoint_takes_or_answers(model: type[BaseModel]) -> None:
    (example,) = model.model_json_schema()["examples"]
    assert model.model_validate(example).model_dump(mode="json").keys() >= example.keys()
