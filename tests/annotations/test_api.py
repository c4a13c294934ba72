"""The JSON API: what a program that annotates sees, and what it is told when something is wrong."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.annotations import service
from app.annotations.api import AnnotationOut, AssignmentOut, DraftOut, LeaseOut
from app.annotations.forms import DraftSave, Submission
from app.annotations.models import Annotation
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.dashboard import reference
from app.prompts.models import Batch, BatchState
from tests.factories import make_assignment, make_batch, make_comparison, make_user

B_BETTER = {"fencing_token": 1, "outcome": "ranked", "ranking": [["B"], ["A"]], "strengths": [3]}


@pytest.fixture
def alice(client: TestClient, session: Session) -> TestClient:
    """Alice's program, with a bearer token."""
    user = make_user(session)
    token = accounts.create_token(session, user, "test", ["annotate"])
    session.commit()
    client.headers["authorization"] = f"Bearer {token}"
    return client


def take(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/annotate/next", json=body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    return value


def submit(client: TestClient, item: dict[str, Any], body: dict[str, Any] | None = None, key: str = "k1") -> Any:
    headers = {"idempotency-key": key, "content-type": "application/json"}
    return client.post(
        f"/api/v1/assignments/{item['id']}/submit", content=json.dumps(body or B_BETTER), headers=headers
    )


@pytest.mark.parametrize("field", ["corrects", "revision_id", "draft_version", "fencing_token"])
@pytest.mark.parametrize("number", [2**63, 10**30, -(10**30)])
def test_a_number_that_no_row_can_hold_is_refused_at_its_field(
    alice: TestClient, session: Session, field: str, number: int
) -> None:
    make_comparison(session)
    session.commit()
    item = take(alice)
    answer = submit(alice, item, B_BETTER | {field: number})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["errors"]] == [f"body.{field}"]


def test_the_next_item_is_as_documented(alice: TestClient, session: Session) -> None:
    make_comparison(session, n=3)
    item = AssignmentOut.model_validate(take(alice))
    assert [response.position for response in item.responses] == ["A", "B", "C"]
    assert item.prompt.messages[-1]["role"] == "user"
    assert item.batch.edit_policy == "optional"
    assert 1700 < item.lease_seconds <= 1800


def test_nothing_left_is_no_content(alice: TestClient) -> None:
    assert alice.post("/api/v1/annotate/next").status_code == 204


def test_a_submit_brings_the_next_item_when_asked(alice: TestClient, session: Session) -> None:
    batch = make_batch(session)
    make_comparison(session, batch=batch)
    make_comparison(session, batch=batch)
    item = take(alice)
    url = f"/api/v1/assignments/{item['id']}/submit"
    recorded = AnnotationOut.model_validate(
        alice.post(url, params={"next": "true"}, json=B_BETTER, headers={"idempotency-key": "k1"}).json()
    )
    assert recorded.assignment_id == item["id"]
    assert recorded.next is not None
    assert recorded.next.id != item["id"]
    stored = session.get_one(Annotation, recorded.id)
    assert stored.ranking == [[stored.order_shown[1]], [stored.order_shown[0]]]


def test_sending_a_submit_again_gives_the_first_answer(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    item = take(alice)
    first, again = submit(alice, item), submit(alice, item)
    assert first.status_code == again.status_code == 200
    assert first.json()["id"] == again.json()["id"]
    assert session.scalar(select(func.count()).select_from(Annotation)) == 1


def test_the_same_key_with_another_judgement_is_a_problem(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    item = take(alice)
    submit(alice, item)
    refused = submit(alice, item, B_BETTER | {"strengths": [1]})
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert "Idempotency-Key" in refused.json()["detail"]


def test_a_submit_names_its_key(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    refused = alice.post(f"/api/v1/assignments/{take(alice)['id']}/submit", json=B_BETTER)
    assert refused.status_code == 422
    assert "idempotency-key" in refused.text.lower()


BAD: dict[str, dict[str, Any]] = {
    "a strength of 7": {"strengths": [7]},
    "a strength of 0": {"strengths": [0]},
    "a strength as text": {"strengths": ["3"]},
    "a candidate that is not in the comparison": {"ranking": [["B"], ["C"]]},
    "a candidate id instead of a position": {"ranking": [["17"], ["A"]]},
    "an unknown outcome": {"outcome": "a_wins"},
    "an empty edit": {"edited_text": ""},
    "a 2 MB edit": {"edited_text": "x" * 2_000_000},
    "a NUL in the comment": {"comment": "a\x00b"},
    "a lone surrogate": {"comment": "\ud83d"},
    "negative seconds": {"active_seconds": -1},
    "another annotator": {"annotator_id": 1},
    "no token": {"fencing_token": None},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_submission_is_refused_with_its_field_and_nothing_changes(
    alice: TestClient, session: Session, name: str
) -> None:
    make_comparison(session)
    item = take(alice)
    refused = submit(alice, item, B_BETTER | BAD[name])
    assert refused.status_code == 422
    problem = refused.json()
    assert problem["type"].endswith("bad-input")
    assert next(iter(BAD[name])) in str(problem["errors"])
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0
    assert submit(alice, item).status_code == 200, "the item can still be submitted"


@pytest.mark.parametrize("seconds", ["NaN", "Infinity"])
def test_seconds_are_a_number(alice: TestClient, session: Session, seconds: str) -> None:
    make_comparison(session)
    item = take(alice)
    body = '{"fencing_token": 1, "outcome": "tie", "active_seconds": ' + seconds + "}"
    headers = {"idempotency-key": "k", "content-type": "application/json"}
    url = f"/api/v1/assignments/{item['id']}/submit"
    assert alice.post(url, content=body, headers=headers).status_code == 422


def test_a_lost_lease_is_a_conflict_and_the_text_is_kept(alice: TestClient, session: Session) -> None:
    comparison = make_comparison(session)
    item = take(alice)
    session.execute(update(Assignment).values(lease_until=func.now() - func.make_interval(0, 0, 0, 1)))
    service.release_expired(session)
    make_assignment(session, make_user(session, name="Rita"), comparison)
    refused = submit(alice, item, B_BETTER | {"edited_text": "My long edit", "comment": "and why"})
    assert refused.status_code == 409
    assert refused.json()["type"].endswith("lease-lost")
    kept = alice.get(f"/api/v1/assignments/{item['id']}").json()["draft"]
    assert kept["edits"] == {"B": "My long edit"}
    assert kept["comment"] == "and why"
    draft = {"version": refused.json()["draft_version"], "draft": {"comment": "and more"}}
    assert alice.put(f"/api/v1/assignments/{item['id']}/draft", json=draft).status_code == 200


@pytest.mark.parametrize("state", [BatchState.PAUSED, BatchState.CLOSED])
def test_a_batch_that_is_not_open_is_a_conflict_and_the_text_is_kept(
    alice: TestClient, session: Session, state: BatchState
) -> None:
    make_comparison(session)
    item = take(alice)
    session.execute(update(Batch).values(state=state))
    refused = submit(alice, item, B_BETTER | {"comment": "mine"})
    assert refused.status_code == 409
    assert alice.get(f"/api/v1/assignments/{item['id']}").json()["draft"]["comment"] == "mine"


def test_drafts_carry_their_version(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    item = take(alice)
    url = f"/api/v1/assignments/{item['id']}/draft"
    assert alice.put(url, json={"version": 0, "draft": {"edits": {"A": "one"}}}).json() == {"version": 1}
    stale = alice.put(url, json={"version": 0, "draft": {"edits": {"A": "two"}}})
    assert stale.status_code == 409
    assert stale.json()["stored"]["edits"] == {"A": "one"}
    assert stale.json()["version"] == 1
    assert take(alice)["draft"]["edits"] == {"A": "one"}


def test_a_skip_says_why(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    item = take(alice)
    url = f"/api/v1/assignments/{item['id']}/skip"
    assert alice.post(url, json={"reason": "  "}).status_code == 422
    assert alice.post(url, json={"reason": "Not my language"}).status_code == 204
    assert session.scalars(select(Assignment.state)).all() == [AssignmentState.SKIPPED]


def test_a_lease_is_renewed_and_released(alice: TestClient, session: Session) -> None:
    make_comparison(session)
    item = take(alice)
    renewed = alice.post(f"/api/v1/assignments/{item['id']}/lease")
    assert LeaseOut.model_validate(renewed.json()).fencing_token == 1
    assert alice.post(f"/api/v1/assignments/{item['id']}/release").status_code == 204
    assert take(alice)["fencing_token"] == 2


@pytest.mark.parametrize("action", ["submit", "skip", "lease", "release"])
def test_charlie_finds_nothing_of_alices(alice: TestClient, session: Session, action: str) -> None:
    charlie = make_user(session, name="Charlie")
    make_comparison(session)
    item = take(alice)
    token = accounts.create_token(session, charlie, "test", ["annotate"])
    session.commit()
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "k"}
    body = {"submit": B_BETTER, "skip": {"reason": "x"}}.get(action)
    refused = alice.post(f"/api/v1/assignments/{item['id']}/{action}", json=body, headers=headers)
    assert refused.status_code == 404
    assert alice.get(f"/api/v1/assignments/{item['id']}", headers=headers).status_code == 404


def test_a_stranger_is_asked_to_sign_in(client: TestClient, session: Session) -> None:
    make_comparison(session)
    assert client.post("/api/v1/annotate/next").status_code == 401


def test_every_endpoint_has_an_example(alice: TestClient) -> None:
    document = alice.get("/api/v1/openapi.json").json()
    for operation in itertools.chain(*reference.operations(document).values()):
        for example in (operation.request, operation.response):
            assert '"…"' not in (example or ""), f"{operation.method} {operation.path} shows a value that nobody gave"


@pytest.mark.parametrize("model", [AssignmentOut, AnnotationOut, LeaseOut, DraftOut, Submission, DraftSave])
def test_an_example_is_what_the_endpoint_takes_or_answers(alice: TestClient, model: type[BaseModel]) -> None:
    schemas = alice.get("/api/v1/openapi.json").json()["components"]["schemas"]
    for example in schemas[model.__name__]["examples"]:
        model.model_validate_json(json.dumps(example))


def test_every_conflict_is_described_as_the_problem_it_is(alice: TestClient) -> None:
    paths = alice.get("/api/v1/openapi.json").json()["paths"]
    for action in ("submit", "draft", "skip", "lease"):
        for operation in paths[f"/api/v1/assignments/{{assignment_id}}/{action}"].values():
            content = operation["responses"]["409"]["content"]["application/problem+json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_what_takes_no_key_can_be_sent_again(alice: TestClient, session: Session) -> None:
    batch = make_batch(session)
    for _ in range(2):
        make_comparison(session, batch=batch)
    item = take(alice)
    assert take(alice)["id"] == item["id"]
    url = f"/api/v1/assignments/{item['id']}"
    draft = {"version": 0, "draft": {"comment": "so far"}}
    assert [alice.put(f"{url}/draft", json=draft).json() for _ in range(2)] == [{"version": 1}] * 2
    assert {alice.post(f"{url}/lease").json()["fencing_token"] for _ in range(2)} == {1}
    assert [alice.post(f"{url}/release").status_code for _ in range(2)] == [204, 204]
    assert {alice.post(f"{url}/lease").json()["fencing_token"] for _ in range(2)} == {2}
    reasons = ("Not my language", "Another reason")
    assert [alice.post(f"{url}/skip", json={"reason": reason}).status_code for reason in reasons] == [204, 204]
    assert session.scalars(select(Assignment.skip_reason)).all() == ["Not my language"]
    assert session.scalars(select(Comparison.seats_free)).all() == [1, 1]
