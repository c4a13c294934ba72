"""The lineage both ways, and retraction, in the browser and over the API: what they say, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import Annotation, Retraction
from app.comparisons.models import Comparison
from tests.factories import PASSWORD, make_user, sign_in
from tests.lineage.conftest import Gone

REASON = "Judged with the sides swapped."


@pytest.fixture
def web_bob(client: TestClient, bob: User) -> TestClient:
    return sign_in(client, bob)


def retract(client: TestClient, scope: str, target: int, **more: Any) -> int:
    answer = client.post("/api/v1/retractions", json={"scope": scope, "target_id": target, "reason": REASON, **more})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


# ── Forwards ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_annotation_leads_to_snapshots_runs_checkpoints_and_its_vote(web_bob: TestClient, gone: Gone) -> None:
    said = gone.of_alice[1]
    page = web_bob.get(f"/lineage/annotations/{said.id}").text
    for name in (gone.hers.name, "reward-r1", "policy-r1"):
        assert name in page
    assert gone.his.name not in page
    assert "vote 2 of 3" in page
    found = web_bob.get(f"/api/v1/annotations/{said.id}/lineage").json()
    assert found["annotator"] == gone.alice.pseudonym
    reach = found["reach"]
    assert [each["id"] for each in reach["snapshots"]] == [gone.hers.id]
    assert [each["run_id"] for each in reach["runs"]] == [gone.runs["reward"].id, gone.runs["policy"].id]
    assert [(each["seq"], each["observations"]) for each in reach["contests"]] == [(2, 3)]


def test_an_annotation_counts_what_was_sampled_since(web_bob: TestClient, session: Session, gone: Gone) -> None:
    from tests.factories import make_batch, make_candidate, make_deployment, make_prompt

    prompt = make_prompt(session, make_batch(session))
    make_candidate(session, prompt, "An answer.", deployment=make_deployment(session, "policy-r1"))
    found = web_bob.get(f"/api/v1/annotations/{gone.of_alice[0].id}/lineage").json()["reach"]["checkpoints"]
    assert {each["name"]: each["responses"] for each in found if each["mark"] == "tainted"} == {
        "reward-r1": 0,
        "policy-r1": 1,
    }
    assert "1 response" in web_bob.get(f"/lineage/annotations/{gone.of_alice[0].id}").text


def test_rita_sees_where_an_annotation_went_once_its_item_is_done(
    client: TestClient, session: Session, gone: Gone
) -> None:
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    said = gone.of_alice[0]
    assert client.get(f"/lineage/annotations/{said.id}").status_code == 200
    page = client.get(f"/lineage/annotations/{gone.of_alice[1].id}").text
    assert "Retract…" not in page
    assert "ote 2 of 3" not in page, "of an open contest nobody who judges is told"
    assert "against" not in client.get(f"/checkpoints/{gone.policy.id}").text
    comparison = session.get_one(Comparison, said.comparison_id)
    comparison.annotators_wanted, comparison.seats_free = 2, 1
    session.commit()
    for path in (f"/lineage/annotations/{said.id}", f"/api/v1/annotations/{said.id}/lineage"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "policy-r1" not in answer.text


# ── Backwards ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_checkpoint_leads_back_to_its_inputs_snapshot_annotations_and_people(web_bob: TestClient, gone: Gone) -> None:
    page = web_bob.get(f"/checkpoints/{gone.imitates.id}").text
    assert "Samples chosen by" in page
    for words in ("reward-r1", gone.his.name, gone.charlie.pseudonym, "2 by 1 annotator"):
        assert words in page
    lineage = web_bob.get(f"/api/v1/checkpoints/{gone.imitates.id}").json()["lineage"]
    assert lineage["inputs"] == [{"role": "chose", "checkpoint": "reward-r1"}]
    assert lineage["people"] == {gone.charlie.pseudonym: 2}
    assert (lineage["snapshot"], lineage["annotations"]) == (gone.his.id, 2)
    chose = web_bob.get(f"/api/v1/checkpoints/{gone.reward.id}").json()["lineage"]
    assert chose["used_by"] == [{"role": "chose", "checkpoint": "sft-r1"}]
    fought = web_bob.get(f"/api/v1/checkpoints/{gone.policy.id}").json()["lineage"]
    assert fought["contests"] == [gone.contest.id]


def test_a_snapshot_shows_its_people_and_what_was_trained_on_it(web_bob: TestClient, gone: Gone) -> None:
    page = web_bob.get(f"/snapshots/{gone.hers.id}").text
    for words in (gone.alice.pseudonym, "Reward model, run", "policy-r1", "data-lineage"):
        assert words in page
    found = web_bob.get(f"/api/v1/snapshots/{gone.hers.id}").json()
    assert (found["annotations"], found["annotators"], found["retracted"]) == (4, 2, 0)
    assert {use["checkpoint"] for use in found["uses"]} == {"reward-r1", "policy-r1"}


# ── Retraction ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_bob_previews_retracts_and_restores_a_person(web_bob: TestClient, session: Session, gone: Gone) -> None:
    where = f"/retractions/new?scope=person&target={gone.alice.id}"
    page = web_bob.get(where).text
    assert gone.alice.pseudonym in page
    for words in (gone.hers.name, "tainted", "touched", "recounted without them", "What cannot be promised"):
        assert words in page
    assert gone.his.name not in page
    assert session.scalar(select(Retraction.id)) is None
    form = {"scope": "person", "target": str(gone.alice.id)}
    refused = web_bob.post("/retractions", data=form | {"reason": " "})
    assert refused.status_code == 422
    assert "Give a reason" in refused.text
    done = web_bob.post("/retractions", data=form | {"reason": REASON})
    assert done.status_code == 303
    made = done.headers["location"]
    shown = web_bob.get(made).text
    assert "Train without it" in shown
    assert REASON in shown
    assert "in force" in web_bob.get("/retractions").text
    assert web_bob.get("/checkpoints").text.count("tainted") == 2
    tainted = web_bob.get(f"/checkpoints/{gone.policy.id}").text
    assert "Of the 4 annotations in its snapshot, 2 are retracted." in tainted
    assert "2 of its annotations were retracted" in web_bob.get(f"/snapshots/{gone.hers.id}").text
    assert web_bob.post(f"{made}/restore").status_code == 303
    assert "tainted" not in web_bob.get("/checkpoints").text
    assert "Restored by Bob" in web_bob.get(made).text
    assert web_bob.post(f"{made}/restore").status_code == 409


def test_the_preview_lists_exactly_what_the_retraction_then_has(web_bob: TestClient, gone: Gone) -> None:
    wish: dict[str, str | int] = {"scope": "annotation", "target_id": gone.of_alice[1].id}
    before = web_bob.get("/api/v1/retractions/preview", params=wish).json()
    made = retract(web_bob, scope="annotation", target=gone.of_alice[1].id)
    assert web_bob.get(f"/api/v1/retractions/{made}").json()["reach"] == before
    assert [each["id"] for each in before["snapshots"]] == [gone.hers.id]
    assert {each["name"]: each["mark"] for each in before["checkpoints"]} == {
        "reward-r1": "tainted",
        "policy-r1": "tainted",
        "sft-r1": "touched",
    }
    assert [each["id"] for each in before["contests"]] == [gone.contest.id]


def test_the_api_says_the_mark_and_restores_once(web_bob: TestClient, gone: Gone) -> None:
    made = retract(web_bob, "person", gone.alice.id)
    marks = {each["name"]: each["mark"] for each in web_bob.get("/api/v1/checkpoints").json()["checkpoints"]}
    assert (marks["policy-r1"], marks["sft-r1"], marks["policy-clean"]) == ("tainted", "touched", None)
    assert web_bob.post(f"/api/v1/retractions/{made}/restore").json()["restored_at"]
    again = web_bob.post(f"/api/v1/retractions/{made}/restore")
    assert again.status_code == 409
    assert [each["id"] for each in web_bob.get("/api/v1/retractions").json()["retractions"]] == [made]


def test_erasing_asks_bob_for_his_password(web_bob: TestClient, session: Session, gone: Gone) -> None:
    form = {"scope": "person", "target": str(gone.alice.id), "reason": REASON, "erase": "true"}
    assert web_bob.post("/retractions", data=form | {"password": "wrong"}).status_code == 422
    assert session.scalar(select(Retraction.id)) is None
    assert web_bob.post("/retractions", data=form | {"password": PASSWORD}).status_code == 303
    session.expire_all()
    assert session.get_one(User, gone.alice.id).name == "Erased person"
    page = web_bob.get(f"/snapshots/{gone.hers.id}").text
    assert "Its rows were erased" in page
    assert web_bob.get(f"/snapshots/{gone.hers.id}/preferences.jsonl").status_code == 409


def test_training_without_it_is_one_button_or_says_what_is_missing(web_bob: TestClient, gone: Gone) -> None:
    made = retract(web_bob, "person", gone.alice.id)
    answer = web_bob.post(f"/retractions/{made}/retrain")
    assert answer.status_code == 409
    assert "pairs to train on" in answer.text


def test_charlie_and_rita_retract_nothing(client: TestClient, session: Session, gone: Gone) -> None:
    for role in (Role.ANNOTATOR, Role.REVIEWER):
        sign_in(client, make_user(session, role, "Charlie"))
        wish = {"scope": "person", "target_id": gone.alice.id, "reason": REASON}
        assert client.post("/api/v1/retractions", json=wish).status_code in {403, 404}
        assert client.get(f"/retractions/new?scope=person&target={gone.alice.id}").status_code in {403, 404}
    assert session.scalar(select(Annotation.id).where(Annotation.retraction_id.is_not(None))) is None


def test_alice_reads_that_her_submission_is_no_longer_used(
    client: TestClient, session: Session, gone: Gone, bob: User
) -> None:
    retract(sign_in(client, bob), "annotation", gone.of_alice[0].id)
    sign_in(client, gone.alice)
    assert "no longer used" in client.get("/queues/submitted").text
    page = client.get(f"/assignments/{gone.of_alice[0].assignment_id}").text
    assert "An admin has retracted your submission" in page
    assert "?correct=1" not in page
