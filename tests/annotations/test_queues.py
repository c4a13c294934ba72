"""The queues: each item in the right one, newest first, page by page, and nobody sees anybody else's."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import queues, service
from app.annotations.models import Annotation, Decision, Review
from app.annotations.queues import Queue
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.prompts.models import Batch, BatchState
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in


def ids(session: Session, user: User, queue: Queue) -> list[int]:
    return [row.id for row in queues.queue_page(session, user, queue).rows]


def give_back(session: Session, annotation: Annotation, verdict: Decision = Decision.RETURNED) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    note = "B invents a <b>source</b>." if verdict is Decision.RETURNED else ""
    session.add(Review(annotation_id=annotation.id, reviewer_id=rita.id, verdict=verdict, note=note))
    session.commit()


def test_an_item_goes_from_queue_to_queue(session: Session) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice)
    assert ids(session, alice, Queue.PENDING) == [held.id]
    service.save_draft(session, alice, held.id, Draft(comment="so far"), held.draft_version)
    session.commit()
    assert (ids(session, alice, Queue.PENDING), ids(session, alice, Queue.DRAFTS)) == ([], [held.id])
    service.skip(session, alice, held.id, "I do not read Latin")
    session.commit()
    assert (ids(session, alice, Queue.DRAFTS), ids(session, alice, Queue.SKIPPED)) == ([], [held.id])
    assert queues.queue_page(session, alice, Queue.SKIPPED).rows[0].skip_reason == "I do not read Latin"


def test_what_others_finished_meanwhile_waits_only_where_something_was_written(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    held = make_assignment(session, alice, comparison)
    service.release(session, alice, held.id)
    make_annotation(session, make_user(session, name="Charlie"), comparison)
    assert ids(session, alice, Queue.PENDING) == []
    service.save_draft(session, alice, held.id, Draft(comment="mine"), held.draft_version)
    session.commit()
    (row,) = queues.queue_page(session, alice, Queue.DRAFTS).rows
    assert not row.can_go_on


def test_a_returned_item_shows_the_note_until_it_is_reviewed_again(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    annotation = make_annotation(session, alice)
    assert ids(session, alice, Queue.RETURNED) == []
    give_back(session, annotation)
    page = sign_in(client, alice).get("/queues/returned").text
    assert "B invents a &lt;b&gt;source&lt;/b&gt;." in page
    assert f"/assignments/{annotation.assignment_id}?correct=1" in page
    give_back(session, annotation, Decision.ACCEPTED)
    assert ids(session, alice, Queue.RETURNED) == []
    assert ids(session, alice, Queue.SUBMITTED) == [annotation.assignment_id]


def test_what_is_closed_can_be_read_and_no_more_corrected(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    annotation = make_annotation(session, alice)
    give_back(session, annotation)
    sign_in(client, alice)
    correct = f"/assignments/{annotation.assignment_id}?correct=1"
    assert correct in client.get("/queues/submitted").text
    session.get_one(
        Batch, queues.queue_page(session, alice, Queue.SUBMITTED).rows[0].batch_id
    ).state = BatchState.CLOSED
    session.commit()
    page = client.get("/queues/submitted").text
    assert correct not in page
    assert f'href="/assignments/{annotation.assignment_id}"' in page
    assert ids(session, alice, Queue.RETURNED) == []


@pytest.mark.parametrize("queue", [Queue.SUBMITTED, Queue.SKIPPED])
def test_pages_are_newest_first_and_leave_nothing_out(
    session: Session, monkeypatch: pytest.MonkeyPatch, queue: Queue
) -> None:
    monkeypatch.setattr(queues, "PAGE", 2)
    alice, batch, made = make_user(session), make_batch(session), []
    for _ in range(5):
        comparison = make_comparison(session, batch=batch)
        if queue is Queue.SUBMITTED:
            made.append(make_annotation(session, alice, comparison).assignment_id)
        else:
            made.append(make_assignment(session, alice, comparison).id)
            service.skip(session, alice, made[-1], "no")
            session.commit()
    seen: list[int] = []
    before = None
    for _ in range(3):
        page = queues.queue_page(session, alice, queue, before=before)
        seen += [row.id for row in page.rows]
        before = page.next
    assert seen == made[::-1]
    assert before is None


def test_a_batch_is_filtered_by_and_counting_stops(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "COUNT_UP_TO", 2)
    alice = make_user(session)
    one, two = make_batch(session, name="One"), make_batch(session, name="Two")
    for batch in (one, one, one, two):
        make_annotation(session, alice, make_comparison(session, batch=batch))
    assert queues.counts(session, alice)[Queue.SUBMITTED] == "2+"
    assert queues.counts(session, alice, two.id)[Queue.SUBMITTED] == "1"
    rows = queues.queue_page(session, alice, Queue.SUBMITTED, batch_id=two.id).rows
    assert [row.batch_name for row in rows] == ["Two"]
    assert queues.batches_of(session, alice) == [(two.id, "Two"), (one.id, "One")]


def test_nobody_sees_anybody_elses_items_nor_any_model(client: TestClient, session: Session) -> None:
    alice, charlie = make_user(session), make_user(session, name="Charlie")
    annotation = make_annotation(session, alice)
    give_back(session, annotation)
    for queue in Queue:
        assert ids(session, charlie, queue) == []
        page = sign_in(client, alice).get(f"/queues/{queue}")
        assert page.status_code == 200
        assert "zebra" not in page.text
    assert queues.queue_page(session, charlie, Queue.SUBMITTED, before=annotation.id + 1).rows == []
    assert client.get("/queues/nothing").status_code == 404
    assert client.get("/queues").headers["location"] == "/queues/pending"


@pytest.mark.parametrize(
    ("outcome", "ranking", "shown", "words"),
    [
        (Outcome.TIE, [[1, 2]], [1, 2], "all equally good"),
        (Outcome.ALL_UNACCEPTABLE, [], [1, 2], "all unacceptable"),
        (Outcome.RANKED, [[2], [1]], [2, 1], "A is better"),
        (Outcome.RANKED, [[3], [2, 1]], [1, 2, 3], "C, then A and B"),
    ],
)
def test_outcomes_are_said_by_position(
    outcome: Outcome, ranking: list[list[int]], shown: list[int], words: str
) -> None:
    assert in_words(outcome, ranking, shown) == words
