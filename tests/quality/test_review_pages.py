"""Reviewing: the list and its filters, one annotation, what can be done about it, and what it never shows."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import queues, recording
from app.annotations import service as annotating
from app.annotations.forms import Submission
from app.annotations.models import Annotation, Decision, GoldAnswer, Qualification, Review
from app.annotations.queues import Queue
from app.candidates import scores
from app.comparisons import claims
from app.comparisons.models import GOLD_SEATS, Assignment, Comparison, Purpose
from app.comparisons.purposes import Asked
from app.judgements.vocabulary import Flag, Outcome
from app.prompts.models import Batch, BatchState
from app.quality import queries, service
from app.quality.queries import Show, Wanted
from app.registry.models import CheckpointKind
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_checkpoint,
    make_comparison,
    make_user,
    sign_in,
)


@pytest.fixture
def rita(session: Session) -> User:
    return make_user(session, Role.REVIEWER, "Rita")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


@pytest.fixture
def reviewing(client: TestClient, rita: User) -> TestClient:
    return sign_in(client, rita)


def make_flagged(session: Session, user: User) -> Annotation:
    held = make_assignment(session, user)
    said = Submission(
        fencing_token=held.fencing_token, outcome=Outcome.TIE, ranking=[], strengths=[], flags={"A": [Flag.UNSAFE]}
    )
    recorded = recording.submit(session, user, held.id, said, key="flagged")
    session.commit()
    return session.get_one(Annotation, recorded.id)


def shown(session: Session, reader: User, wanted: Wanted) -> list[int]:
    return [row.id for row in queries.review_page(session, reader, wanted).rows]


def test_the_list_keeps_what_the_filter_asks_for(session: Session, rita: User, alice: User) -> None:
    plain = make_annotation(session, alice)
    edited = make_annotation(session, alice, edited_text="Better.")
    flagged = make_flagged(session, make_user(session, name="Charlie"))
    returned = make_annotation(session, alice)
    service.review(session, rita, returned, Decision.RETURNED, "Check again.")
    session.commit()
    everything = [returned.id, flagged.id, edited.id, plain.id]
    assert shown(session, rita, Wanted()) == everything
    assert shown(session, rita, Wanted(show=Show.EDITED)) == [edited.id]
    assert shown(session, rita, Wanted(show=Show.FLAGGED)) == [flagged.id]
    assert shown(session, rita, Wanted(show=Show.RETURNED)) == [returned.id]
    assert shown(session, rita, Wanted(show=Show.UNREVIEWED)) == everything[1:]
    assert shown(session, rita, Wanted(outcome=Outcome.TIE)) == [flagged.id]
    assert shown(session, rita, Wanted(annotator=alice.pseudonym)) == [returned.id, edited.id, plain.id]
    assert shown(session, rita, Wanted(annotator="nobody")) == []
    batch = session.scalar(select(Comparison.batch_id).where(Comparison.id == edited.comparison_id))
    assert shown(session, rita, Wanted(batch_id=batch)) == [edited.id]


def test_the_list_goes_on_where_it_stopped(session: Session, rita: User, alice: User) -> None:
    made = [make_annotation(session, alice).id for _ in range(3)]
    first = queries.review_page(session, rita, Wanted(), limit=2)
    assert [row.id for row in first.rows] == [made[2], made[1]]
    rest = queries.review_page(session, rita, Wanted(), limit=2, before=first.next)
    assert ([row.id for row in rest.rows], rest.next) == ([made[0]], None)
    assert queries.neighbours(session, rita, Wanted(), made[1]) == (made[2], made[0])


def test_answers_against_a_known_one_are_found(session: Session, rita: User, alice: User) -> None:
    comparison = make_comparison(session, wanted=2)
    make_annotation(session, alice, comparison)
    for outcome, ranking, known in [
        (Outcome.RANKED, None, False),
        (Outcome.TIE, None, True),
    ]:
        said = make_annotation(session, make_user(session), outcome=outcome, ranking=ranking)
        made = service.make_gold(session, rita, said, "Plain.")
        batch = session.get_one(Batch, made.batch_id)
        batch.qualification_items = 1
        session.commit()
        answer = make_annotation(session, make_user(session), made)
        assert (answer.id in shown(session, rita, Wanted(show=Show.AGAINST_GOLD))) is known


def test_what_a_reviewer_is_judging_is_not_shown_to_them(
    reviewing: TestClient, session: Session, rita: User, alice: User
) -> None:
    comparison = make_comparison(session, wanted=2)
    said = make_annotation(session, alice, comparison)
    held = make_assignment(session, rita, comparison)
    assert said.id not in shown(session, rita, Wanted())
    assert reviewing.get(f"/review/annotations/{said.id}").status_code == 404
    annotating.skip(session, rita, held.id, "I know the author.")
    session.commit()
    assert reviewing.get(f"/review/annotations/{said.id}").status_code == 200


def test_the_page_shows_what_was_said_and_not_who_wrote_the_responses(
    reviewing: TestClient, session: Session, alice: User
) -> None:
    said = make_annotation(session, alice, edited_text="A <b>better</b> answer.", comment="Because <i>so</i>.")
    page = reviewing.get(f"/review/annotations/{said.id}").text
    assert "Because &lt;i&gt;so&lt;/i&gt;." in page
    assert "&lt;b&gt;better&lt;/b&gt;" in page
    assert alice.pseudonym in page
    assert "zebra-base" not in page
    assert "focused" not in page
    assert "zebra-base" not in reviewing.get("/review").text


def test_accepting_goes_on_to_the_next_of_the_list(reviewing: TestClient, session: Session, alice: User) -> None:
    older, newer = make_annotation(session, alice), make_annotation(session, alice)
    answer = reviewing.post(f"/review/annotations/{newer.id}/accept?show=unreviewed")
    assert answer.headers["location"] == f"/review/annotations/{older.id}?show=unreviewed"
    assert reviewing.post(f"/review/annotations/{older.id}/accept").headers["location"] == "/review"
    assert session.scalars(select(Review.verdict)).all() == [Decision.ACCEPTED] * 2


def test_returning_needs_a_note_and_puts_it_into_the_annotators_queue(
    reviewing: TestClient, session: Session, alice: User
) -> None:
    said = make_annotation(session, alice)
    refused = reviewing.post(f"/review/annotations/{said.id}/return", data={"note": "  "})
    assert refused.status_code == 422
    assert 'aria-invalid="true"' in refused.text
    assert reviewing.post(f"/review/annotations/{said.id}/return", data={"note": "B is false."}).status_code == 303
    (row,) = queues.queue_page(session, alice, Queue.RETURNED).rows
    assert row.note == "B is false."


def test_a_correction_is_shown_with_the_note_that_asked_for_it_and_what_it_corrects(
    reviewing: TestClient, session: Session, alice: User
) -> None:
    before = make_annotation(session, alice, edited_text="Four, as I think.")
    reviewing.post(f"/review/annotations/{before.id}/return", data={"note": "B is false."})
    token = session.get_one(Assignment, before.assignment_id).fencing_token
    corrected = Submission(
        fencing_token=token, outcome=Outcome.TIE, ranking=[], strengths=[], comment="Both are.", corrects=before.id
    )
    after = recording.submit(session, alice, before.assignment_id, corrected, key="corrected")
    session.commit()
    page = reviewing.get(f"/review/annotations/{after.id}").text
    told = page[page.index("Before the correction") :]
    for words in ("better than the next", "as I think", "B is false."):
        assert words in told
    assert "Equally good" in page[: page.index("Before the correction")]
    assert "Nobody has reviewed it yet." in page


def test_nothing_is_returned_from_a_closed_batch(reviewing: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    comparison = session.get_one(Comparison, said.comparison_id)
    session.get_one(Batch, comparison.batch_id).state = BatchState.CLOSED
    session.commit()
    assert f"/review/annotations/{said.id}/return" not in reviewing.get(f"/review/annotations/{said.id}").text
    assert reviewing.post(f"/review/annotations/{said.id}/return", data={"note": "Look."}).status_code == 409


def test_what_was_corrected_meanwhile_is_not_reviewed(reviewing: TestClient, session: Session, alice: User) -> None:
    said, other = make_annotation(session, alice), make_annotation(session, alice)
    said.superseded_by_id = other.id
    session.commit()
    assert reviewing.get(f"/review/annotations/{said.id}").headers["location"] == "/review"
    for action, sent in {"accept": {}, "return": {"note": "x"}, "gold": {"explanation": "x"}}.items():
        answer = reviewing.post(f"/review/annotations/{said.id}/{action}", data=sent)
        assert answer.headers["location"] == "/review"
    assert session.scalars(select(Review)).all() == []


def test_a_known_answer_is_made_retired_and_brought_back(reviewing: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    url = f"/review/annotations/{said.id}"
    assert reviewing.post(f"{url}/gold", data={"explanation": ""}).status_code == 422
    assert reviewing.post(f"{url}/gold", data={"explanation": "The first is *true*."}).headers["location"] == url
    made = session.scalars(select(Comparison).where(Comparison.purpose == Purpose.GOLD)).one()
    assert session.get_one(GoldAnswer, made.id).from_annotation_id == said.id
    assert f"{url}/gold" not in reviewing.get(url).text, "there is one already"
    for page in (url, f"/review/gold?batch={made.batch_id}"):
        assert "The first is <em>true</em>." in reviewing.get(page).text
    assert reviewing.post(f"/review/gold/{made.id}/retire").status_code == 303
    session.refresh(made)
    assert made.seats_free == 0
    assert ">Restore<" in reviewing.get("/review/gold").text
    assert reviewing.post(f"/review/gold/{made.id}/restore").status_code == 303
    session.refresh(made)
    assert made.seats_free == GOLD_SEATS
    assert reviewing.post(f"/review/gold/{said.comparison_id}/retire").status_code == 404, "that one is work"


def test_a_qualification_is_reset_and_staff_are_told_when_items_are_missing(
    reviewing: TestClient, session: Session, rita: User, alice: User
) -> None:
    said = make_annotation(session, make_user(session, name="Gwen"))
    made = service.make_gold(session, rita, said, "Plain.")
    session.get_one(Batch, made.batch_id).qualification_items = 1
    session.commit()
    candidates = sorted(said.order_shown, reverse=True)
    make_annotation(session, alice, made, ranking=[[each] for each in candidates])
    page = reviewing.get("/review/gold").text
    assert "not passed" in page
    assert "Too few known answers are left for this person: 0 of 1." in page
    url = f"/review/qualifications/{made.batch_id}/{alice.id}/reset"
    assert reviewing.post(url).status_code == 303
    assert session.get_one(Qualification, (made.batch_id, alice.id), populate_existing=True).answered == 0
    assert reviewing.post(url).status_code == 303, "twice does nothing more"


def test_items_left_are_those_that_a_claim_gives(session: Session, rita: User, alice: User) -> None:
    gwen = make_user(session, name="Gwen")
    batch = make_batch(session, annotators_per_prompt=2)
    judged_too = make_comparison(session, batch=batch)
    make_annotation(session, alice, judged_too)
    second = make_annotation(session, gwen, judged_too)
    first = make_annotation(session, gwen, make_comparison(session, batch=batch))
    asked = service.make_gold(session, rita, first, "Plain.")
    batch.qualification_items = 1
    session.commit()
    make_annotation(session, alice, asked, ranking=[[each] for each in sorted(first.order_shown, reverse=True)])
    service.make_gold(session, rita, second, "Plain.")
    session.commit()
    (row,) = [each for each in queries.list_qualifications(session) if each.user_id == alice.id]
    assert claims.claim(session, alice.id, batch.id, Asked.KNOWN_ANSWER) is None, "she has judged these responses"
    assert row.items_left == 0


def test_only_staff_see_the_tab(client: TestClient, session: Session, rita: User, alice: User) -> None:
    assert 'href="/review"' not in sign_in(client, alice).get("/annotate").text
    assert 'href="/review"' in sign_in(client, rita).get("/annotate").text
    said = make_annotation(session, alice)
    assert sign_in(client, alice).get(f"/review/annotations/{said.id}").status_code == 403


def test_what_a_reward_model_says_stands_beside_a_judgement_and_nowhere_while_one_judges(
    session: Session, reviewing: TestClient, alice: User
) -> None:
    said = make_annotation(session, alice)
    older, newer = (make_checkpoint(session, name, CheckpointKind.REWARD) for name in ("reward-r1", "reward-r2"))
    one, other = said.order_shown
    page = f"/review/annotations/{said.id}"
    assert "Reward model" not in reviewing.get(page).text
    scores.store(session, older.id, {one: 0.5, other: -1.25})
    scores.store(session, newer.id, {one: 3.0})
    scores.store(session, older.id, {one: 9.0})
    text = reviewing.get(page).text
    assert "+0.50" in text, "the newest that knows both, as it was first"
    assert "−1.25" in text
    assert "reward-r1" in text
    open_item = make_assignment(session, alice, make_comparison(session))
    scores.store(session, older.id, dict.fromkeys(open_item.order_shown, 7.25))
    assert "7.25" not in sign_in(reviewing, alice).get(f"/assignments/{open_item.id}").text
    assert "1.25" not in reviewing.get(f"/assignments/{said.assignment_id}").text
