"""Bob sets how a batch is measured; a wrong line is named, and what is annotated keeps its attributes."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.comparisons.models import Comparison
from app.prompts.attributes import from_lines, to_lines
from app.prompts.models import Batch, BatchKind, BatchTask
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in
from tests.prompts.pages import jsonl, upload

HELPFUL = {"name": "helpful", "label": "Helpful", "scale": ["no", "partly", "yes"]}
NUMBERS = {"verify_percent": "10", "gold_percent": "5", "qualification_items": "3", "qualification_percent": "66"}


def test_a_batch_is_made_with_everything(client: TestClient, session: Session, bob: User) -> None:
    fields = {
        "name": "Q",
        "attributes": "Helpful: no | partly | yes\r\n",
        "example_4": "Right or wrong.",
        "example_1": "",
    }
    answer = client.post(f"{upload(client, jsonl({'prompt': 'Why?'}))}/confirm", data=fields | NUMBERS)
    assert answer.status_code == 303
    batch = session.scalars(select(Batch)).one()
    assert batch.attributes == [HELPFUL]
    assert batch.strength_examples == {"4": "Right or wrong."}
    assert {name: str(getattr(batch, name)) for name in NUMBERS} == NUMBERS
    page = client.get(f"/batches/{batch.id}").text
    assert "Helpful: no | partly | yes" in page
    assert "3 items, 66% right" in page


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("Helpful: no | yes\nwhat", "Line 2: write it like"),
        ("Helpful: no", "Line 1: a scale has 2 to 7 steps"),
        ("Helpful: 1|2|3|4|5|6|7|8", "2 to 7 steps"),
        ("Hilfreich für mich: nein | ja", "put a name of a–z"),
        ("H = Helpful: no | yes", "put a name of a–z"),
        ("Helpful: no | | yes", "each step has 1 to 40"),
        ("Helpful: no | no", "two steps of the scale are the same"),
        ("Safe: no | yes\nSafe: no | yes", "“safe” appears twice"),
        ("\n".join(f"a{'b' * at}: no | yes" for at in range(9)), "at most 8"),
        ("Safe\0: no | yes", "NUL"),
    ],
)
def test_a_wrong_line_is_named_and_what_was_typed_is_kept(
    client: TestClient, session: Session, bob: User, lines: str, says: str
) -> None:
    batch = make_batch(session)
    answer = client.post(f"/batches/{batch.id}/settings", data={"attributes": lines})
    assert answer.status_code == 422
    assert says in answer.text
    session.refresh(batch)
    assert batch.attributes == []


def test_attributes_stay_once_somebody_has_annotated(client: TestClient, session: Session, bob: User) -> None:
    comparison = make_comparison(session)
    url = f"/batches/{comparison.batch_id}/settings"
    assert client.post(url, data={"attributes": "Helpful: no | partly | yes"}).status_code == 303
    assert client.post(url, data={"attributes": ""}).status_code == 303
    make_annotation(session, make_user(session), comparison)
    refused = client.post(url, data={"attributes": "Safe: no | yes"} | NUMBERS)
    assert refused.status_code == 422
    assert "People have already annotated this batch" in refused.text
    assert client.post(url, data={"attributes": ""} | NUMBERS).status_code == 303
    batch = session.get_one(Batch, comparison.batch_id, populate_existing=True)
    assert (batch.attributes, batch.gold_percent) == ([], 5)
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "batch.settings")).all()
    assert [sorted(event.details["before"]) for event in events] == [["attributes"], ["attributes"], sorted(NUMBERS)]


def test_attributes_wait_until_nobody_is_in_the_middle_of_a_judgement(
    client: TestClient, session: Session, bob: User
) -> None:
    held = make_assignment(session, make_user(session))
    batch = session.get_one(Batch, session.get_one(Comparison, held.comparison_id).batch_id)
    url = f"/batches/{batch.id}/settings"
    refused = client.post(url, data={"attributes": "Safe: no | yes"})
    assert refused.status_code == 422
    assert "pause it, then change its attributes" in refused.text
    assert client.post(url, data={"verify_percent": "5"}).status_code == 303
    client.post(f"/batches/{batch.id}/pause")
    assert client.post(url, data={"attributes": "Safe: no | yes"}).status_code == 303


@pytest.mark.parametrize(("name", "value"), [("gold_percent", 51), ("qualification_items", 21), ("verify_percent", -1)])
def test_a_number_out_of_range_is_refused(
    client: TestClient, session: Session, bob: User, name: str, value: int
) -> None:
    batch = make_batch(session)
    assert client.post(f"/batches/{batch.id}/settings", data={name: str(value)}).status_code == 422
    assert client.patch(f"/api/v1/batches/{batch.id}", json={name: value}).status_code == 422


def test_a_batch_comes_to_require_the_tour_and_no_more(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session)
    url = f"/batches/{batch.id}"
    assert client.post(f"{url}/settings", data={"requires_tour": "true"}).status_code == 303
    assert client.get(f"/api/v1{url}").json()["requires_tour"] is True
    assert '<option value="true" selected>Required</option>' in client.get(url).text
    assert client.post(f"{url}/settings", data={"gold_percent": "5"}).status_code == 303
    session.refresh(batch)
    assert batch.requires_tour, "what is not sent stays"
    assert client.patch(f"/api/v1{url}", json={"requires_tour": False}).json()["requires_tour"] is False
    assert client.patch(f"/api/v1{url}", json={"requires_tour": 1}).status_code == 422
    batch.kind = BatchKind.DIALOGUE
    session.commit()
    assert client.patch(f"/api/v1{url}", json={"requires_tour": True}).status_code == 409


def test_the_api_changes_the_same_and_only_for_admins(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session, guidelines="Old.")
    wanted: dict[str, Any] = {"guidelines": "New.", "strength_examples": {"4": "x"}, "attributes": [HELPFUL]}
    made = client.patch(f"/api/v1/batches/{batch.id}", json=wanted)
    assert made.status_code == 200, made.text
    assert {name: made.json()[name] for name in wanted} == wanted
    assert made.json()["guidelines_version"] == 2
    bad = {"attributes": [HELPFUL | {"name": "Helpful!"}]}
    assert client.patch(f"/api/v1/batches/{batch.id}", json=bad).status_code == 422
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.patch(f"/api/v1/batches/{batch.id}", json=wanted).status_code == 403
    assert client.post(f"/batches/{batch.id}/settings", data={}).status_code == 403


def test_the_examples_are_saved_with_the_guidelines_as_one_version(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session, guidelines="Old.")
    fields = {"guidelines": "New.", "example_3": "Clearer.", "example_4": ""}
    assert client.post(f"/batches/{batch.id}/guidelines", data=fields).status_code == 303
    session.refresh(batch)
    assert (batch.guidelines_version, batch.strength_examples) == (2, {"3": "Clearer."})


words = st.text("abc de", min_size=1, max_size=10).map(str.strip).filter(bool)


@given(
    st.lists(
        st.tuples(
            st.from_regex("[a-z_]{1,30}", fullmatch=True), words, st.lists(words, min_size=2, max_size=7, unique=True)
        )
    )
)
def test_what_is_written_out_reads_back(rows: list[tuple[str, str, list[str]]]) -> None:
    attributes = [{"name": name, "label": label, "scale": scale} for name, label, scale in rows]
    assert from_lines(to_lines(attributes)) == attributes


def test_how_responses_are_chosen_changes_for_what_is_not_ready_yet(
    client: TestClient, session: Session, bob: User
) -> None:
    batch = make_batch(session)
    wanted = {"overlap_percent": 25, "selection": "random", "sampled_per_prompt": 4}
    assert client.post(f"/batches/{batch.id}/settings", data=wanted).status_code == 303
    changed = client.get(f"/api/v1/batches/{batch.id}").json()
    assert {name: changed[name] for name in wanted} == wanted
    page = client.get(f"/batches/{batch.id}").text
    assert "25% of prompts" in page
    assert '<option value="random" selected' in page
    assert client.patch(f"/api/v1/batches/{batch.id}", json={"sampled_per_prompt": 17}).status_code == 422
    assert client.patch(f"/api/v1/batches/{batch.id}", json={"selection": "whim"}).status_code == 422


def test_nothing_is_chosen_where_nothing_is_compared(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session)
    batch.task = BatchTask.WRITE
    session.commit()
    refused = client.patch(f"/api/v1/batches/{batch.id}", json={"overlap_percent": 5})
    assert refused.status_code == 409
    assert "only where people compare" in refused.text
    assert client.patch(f"/api/v1/batches/{batch.id}", json={"show_findings": "never"}).status_code == 200
