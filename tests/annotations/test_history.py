"""The way back: undo goes from item to item through what one has done, and what it reaches is corrected, never overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import history, queries, recording, service
from app.annotations.models import COUNTS, STANDING, Annotation, Decision, Review
from app.comparisons import claims
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.judgements.judgement import Draft
from app.kernel.errors import Conflict
from app.preferences.forms import ExportFilter
from app.preferences.freeze import freeze
from app.prompts.models import Batch, BatchState
from tests.annotations.submitting import ranked, seats
from tests.annotations.test_pages import form
from tests.annotations.test_recording import findings
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every submission were some minutes old."""
    monkeypatch.setattr(recording, "UNDO_SECONDS", -recording.UNDO_PATIENCE - 1)


def batch_of(session: Session, assignment_id: int) -> Batch:
    comparison_id = session.get_one(Assignment, assignment_id).comparison_id
    return session.get_one(Batch, session.get_one(Comparison, comparison_id).batch_id)


def skipped(session: Session, user: User, comparison: Comparison | None = None) -> Assignment:
    held = make_assignment(session, user, comparison)
    service.skip(session, user, held.id, "no")
    session.commit()
    return held


def way_back(session: Session, user: User) -> list[int]:
    found: list[int] = []
    while (last := history.step_back(session, user, found[-1] if found else None)) is not None:
        found.append(last)
    return found


def corrected(session: Session, user: User, assignment_id: int, **values: Any) -> Annotation:
    """What is submitted from the page that undo led to."""
    work = queries.access_work(session, user, assignment_id, correct=True)
    submission = ranked(session.get_one(Assignment, assignment_id), corrects=work.corrects, **values)
    return session.get_one(Annotation, recording.submit(session, user, assignment_id, submission, "again").id)


# ── Step by step ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_way_back_leads_through_judgements_and_skips_of_ones_own(session: Session, alice: User) -> None:
    batch = make_batch(session, annotators_per_prompt=2)
    items = [make_comparison(session, wanted=2, batch=batch) for _ in range(4)]
    dora = make_user(session, name="Dora")
    mine = [
        make_annotation(session, alice, items[0]).assignment_id,
        skipped(session, alice, items[1]).id,
        make_annotation(session, alice, items[2]).assignment_id,
    ]
    hers = make_annotation(session, dora, items[0]).assignment_id
    make_assignment(session, alice, items[3])  # in hand: not done
    assert way_back(session, alice) == mine[::-1]
    assert way_back(session, dora) == [hers]
    assert history.step_back(session, dora, mine[-1]) is None, "nobody walks from anybody else's item"


def test_what_was_done_last_comes_first_whenever_it_was_taken(session: Session, alice: User) -> None:
    judged, left = make_annotation(session, alice).assignment_id, skipped(session, alice)
    assert way_back(session, alice) == [left.id, judged]
    session.execute(
        update(Assignment).where(Assignment.id == left.id).values(skipped_at=func.now() - text("interval '1 hour'"))
    )
    assert way_back(session, alice) == [judged, left.id]


def test_from_an_item_that_was_undone_the_way_leads_on(session: Session, alice: User) -> None:
    ids = [make_annotation(session, alice).assignment_id for _ in range(2)]
    third = skipped(session, alice).id
    recording.undo(session, alice, third)
    assert history.step_back(session, alice, third) == ids[1]
    recording.undo(session, alice, ids[1])
    assert history.step_back(session, alice, ids[1]) == ids[0]
    assert way_back(session, alice) == [ids[0]], "what is in work again is not done"


@pytest.mark.usefixtures("late")
def test_after_the_first_seconds_undo_is_a_correction(client: TestClient, session: Session, alice: User) -> None:
    first, second = (make_annotation(session, alice, comment=f"why {place}") for place in range(2))
    in_hand = make_assignment(session, alice)
    sign_in(client, alice)
    one = client.post("/annotate/undo", data={"before": ""})
    assert one.headers["location"] == f"/assignments/{second.assignment_id}?correct=1&back=1"
    page = client.get(one.headers["location"])
    assert "why 1" in page.text
    assert f'name="corrects" value="{second.id}"' in page.text
    two = client.post("/annotate/undo", data={"before": str(second.assignment_id)})
    assert two.headers["location"] == f"/assignments/{first.assignment_id}?correct=1&back=1"
    page = client.get(two.headers["location"])
    fields = form(page, choice="B4", corrects=str(first.id))
    answer = client.post(f"/assignments/{first.assignment_id}/submit?back=1", data=fields)
    back = f"/assignments/{in_hand.id}?moved=true"
    assert answer.headers["location"] == back, "to what is in hand, which is of another batch"
    session.expire_all()
    assert session.get_one(Annotation, first.id).superseded_by_id is not None
    assert session.get_one(Annotation, second.id).superseded_by_id is None, "only looked at"
    assert not any(findings(session))


def test_where_there_is_nothing_to_undo_it_says_so(client: TestClient, session: Session, alice: User) -> None:
    sign_in(client, alice)
    assert client.post("/annotate/undo", data={"before": ""}).headers["location"] == "/annotate"
    assert history.NOTHING in client.get("/annotate").text
    refused = client.post("/annotate/undo", data={"before": ""}, headers={"hx-request": "true"})
    assert refused.status_code == 409


@pytest.mark.usefixtures("late")
def test_a_correction_on_the_way_keeps_its_draft(session: Session, alice: User) -> None:
    said = make_annotation(session, alice, comment="first")
    held = session.get_one(Assignment, said.assignment_id)
    with pytest.raises(Conflict, match="submitted already"):
        service.save_draft(session, alice, held.id, Draft(comment="better"), held.draft_version)
    version = service.save_draft(session, alice, held.id, Draft(comment="better"), held.draft_version, said.id)
    session.commit()
    again = queries.access_work(session, alice, held.id, correct=True)
    assert again.draft is not None
    assert (Draft.model_validate(again.draft).comment, again.draft_version) == ("better", version)
    shown = queries.access_work(session, alice, held.id).draft
    assert shown is not None
    assert shown["comment"] == "first", "what counts is what was submitted"
    now = corrected(session, alice, held.id, comment="best")
    shown = queries.access_work(session, alice, held.id, correct=True).draft
    assert shown is not None
    assert shown["comment"] == "best"
    with pytest.raises(Conflict, match="corrected this item"):
        service.save_draft(session, alice, held.id, Draft(), version, said.id)
    assert now.superseded_by_id is None


# ── After the batch closed, a review, a snapshot ─────────────────────────────────────────────────────────────────────
def test_after_the_batch_closed_undo_shows_what_was_said_and_why_it_stays(
    client: TestClient, session: Session, alice: User
) -> None:
    said = make_annotation(session, alice, comment="my reason")
    batch_of(session, said.assignment_id).state = BatchState.CLOSED
    session.commit()
    answer = sign_in(client, alice).post("/annotate/undo", data={"before": ""})
    page = client.get(answer.headers["location"]).text
    assert "my reason" in page
    assert "The batch is closed: your submission is final." in page
    assert session.scalars(select(Annotation.id).where(STANDING)).all() == [said.id]


@pytest.mark.usefixtures("late")
def test_after_a_review_undo_is_a_correction_that_keeps_the_review(
    client: TestClient, session: Session, alice: User
) -> None:
    said, rita = make_annotation(session, alice, comment="at first"), make_user(session, Role.REVIEWER, "Rita")
    session.add(Review(annotation_id=said.id, reviewer_id=rita.id, verdict=Decision.ACCEPTED, note="Well seen."))
    session.commit()
    now = corrected(session, alice, said.assignment_id, comment="on second thoughts", strengths=[1])
    page = sign_in(client, alice).get(f"/assignments/{said.assignment_id}").text
    assert "on second thoughts" in page
    assert "Before you corrected it" in page
    assert page.index("on second thoughts") < page.index("at first") < page.index("Well seen.")
    assert "Rita" not in page, "who reviewed is not said"
    session.refresh(said)
    assert (said.superseded_by_id, now.superseded_by_id) == (now.id, None)


@pytest.mark.usefixtures("late")
def test_after_a_snapshot_froze_it_undo_changes_what_counts_from_now_on(
    session: Session, alice: User, tmp_path: Path
) -> None:
    said = make_annotation(session, alice)
    frozen = freeze(session, ExportFilter(), tmp_path / "one")
    before = (tmp_path / "one" / "preferences.jsonl").read_bytes()
    now = corrected(session, alice, said.assignment_id, strengths=[1])
    assert frozen.rows == 1
    assert (tmp_path / "one" / "preferences.jsonl").read_bytes() == before
    assert session.scalars(select(Annotation.id).where(COUNTS)).all() == [now.id]
    assert session.get_one(Annotation, said.id).strengths == [3]


# ── Skips ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_skip_is_undone_with_what_was_drafted(client: TestClient, session: Session, alice: User) -> None:
    comparison = make_comparison(session)
    held = make_assignment(session, alice, comparison)
    service.save_draft(session, alice, held.id, Draft(comment="so far"), held.draft_version)
    service.skip(session, alice, held.id, "no")
    session.commit()
    assert seats(session, comparison) == (1, 0)
    answer = sign_in(client, alice).post("/annotate/undo", data={"before": ""})
    assert answer.headers["location"] == f"/assignments/{held.id}?back=1"
    assert "so far" in client.get(answer.headers["location"]).text
    assert seats(session, comparison) == (0, 0)
    session.refresh(held)
    assert (held.state, held.skip_reason, held.fencing_token) == (AssignmentState.ACTIVE, None, 2)
    recording.submit(session, alice, held.id, ranked(held), "k")
    assert seats(session, comparison) == (0, 1)
    assert not any(findings(session))


def test_a_skip_whose_seat_was_taken_stays_and_says_why(client: TestClient, session: Session, alice: User) -> None:
    comparison = make_comparison(session)
    held = skipped(session, alice, comparison)
    dora = make_user(session, name="Dora")
    hers = make_assignment(session, dora, comparison)
    answer = sign_in(client, alice).post(f"/assignments/{held.id}/undo")
    page = client.get(answer.headers["location"]).text
    assert recording.GONE in page
    assert "You skipped this item" in page
    assert seats(session, comparison) == (0, 0)
    service.release(session, dora, hers.id)
    session.commit()
    client.post(f"/assignments/{held.id}/undo")
    session.refresh(held)
    assert held.state is AssignmentState.ACTIVE, "it is free again"


@pytest.mark.parametrize(
    ("state", "said"), [(BatchState.PAUSED, "paused"), (BatchState.CLOSED, "closed")], ids=["paused", "closed"]
)
def test_a_skip_is_not_undone_where_nobody_works(session: Session, alice: User, state: BatchState, said: str) -> None:
    held = skipped(session, alice)
    batch_of(session, held.id).state = state
    session.flush()
    with pytest.raises(Conflict, match=said):
        recording.undo(session, alice, held.id)


def test_who_has_read_others_judgements_since_does_not_get_the_item_back(session: Session, alice: User) -> None:
    comparison = make_comparison(session, wanted=2)
    held = skipped(session, alice, comparison)
    claims.mark_read(session, alice.id, [comparison.prompt_id])
    with pytest.raises(Conflict, match="read what others said"):
        recording.undo(session, alice, held.id)
    assert seats(session, comparison) == (2, 0)


def test_the_api_undoes_a_skip_and_names_what_to_correct_when_it_is_too_late(
    client: TestClient, session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = skipped(session, alice)
    sign_in(client, alice)
    again = client.post(f"/api/v1/assignments/{held.id}/undo")
    assert (again.status_code, again.json()["state"]) == (200, "active")
    said = make_annotation(session, alice)
    monkeypatch.setattr(recording, "UNDO_SECONDS", -recording.UNDO_PATIENCE - 1)
    refused = client.post(f"/api/v1/assignments/{said.assignment_id}/undo")
    assert (refused.status_code, refused.json()["corrects"]) == (409, said.id)


def test_the_api_goes_back_step_by_step(client: TestClient, session: Session, alice: User, late: None) -> None:
    first, second = (make_annotation(session, alice, comment=f"why {place}") for place in range(2))
    third = skipped(session, alice)
    sign_in(client, alice)
    one = client.post("/api/v1/annotate/undo").json()
    assert (one["id"], one["state"]) == (third.id, "active")
    two = client.post("/api/v1/annotate/undo", json={"before": one["id"]}).json()
    assert (two["id"], two["state"], two["annotation_id"]) == (second.assignment_id, "submitted", second.id)
    three = client.post("/api/v1/annotate/undo", json={"before": two["id"]}).json()
    assert (three["id"], three["draft"]["comment"]) == (first.assignment_id, "why 0")
    assert client.post("/api/v1/annotate/undo", json={"before": three["id"]}).status_code == 409
    dora = make_user(session, name="Dora")
    assert sign_in(client, dora).post("/api/v1/annotate/undo", json={"before": two["id"]}).status_code == 409
