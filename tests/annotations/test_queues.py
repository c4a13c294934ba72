"""The queues: each item in the right one, newest first, page by page, and nobody sees anybody else's."""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import queues, service
from app.annotations.models import Annotation, Decision, Review
from app.annotations.queues import Queue, Sought
from app.judgements.judgement import Draft
from app.judgements.vocabulary import Outcome
from app.judgements.words import in_words
from app.prompts.models import Batch, BatchState, PromptState
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_prompt,
    make_user,
    sign_in,
)


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
    rows = queues.queue_page(session, alice, Queue.SUBMITTED, Sought(batch_id=two.id)).rows
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


# ── Search and filters ───────────────────────────────────────────────────────────────────────────────────────────────
def found(session: Session, user: User, queue: Queue = Queue.SUBMITTED, **sought: Any) -> list[int]:
    return [row.id for row in queues.queue_page(session, user, queue, Sought(**sought)).rows]


def asked(session: Session, user: User, prompt: str, **said: Any) -> int:
    """An item whose prompt says so, judged."""
    batch = make_batch(session)
    comparison = make_comparison(
        session, prompt=make_prompt(session, batch, prompt, state=PromptState.READY), texts=["One.", "Two."]
    )
    return make_annotation(session, user, comparison, **said).assignment_id


def test_ones_own_items_are_searched_by_prompt_outcome_and_edit(session: Session) -> None:
    alice, dora = make_user(session), make_user(session, name="Dora")
    whale = asked(session, alice, "How long does a 50%_whale sleep?", edited_text="Two hours.")
    chinese = asked(session, alice, "鲸鱼睡多久？", outcome=Outcome.TIE)
    asked(session, dora, "How long does a whale sleep?")
    assert found(session, alice, text="WHALE") == [whale]
    assert found(session, alice, text="50%_w") == [whale]
    assert found(session, alice, text="5_%") == [], "signs are searched for as they are"
    assert found(session, alice, text="睡多久") == [chinese]
    assert found(session, alice, outcome=Outcome.TIE) == [chinese]
    assert found(session, alice, edited=True) == [whale]
    assert found(session, alice, edited=True, outcome=Outcome.TIE) == []


def test_skips_are_found_by_their_reason_whatever_was_written_beside_it(session: Session) -> None:
    alice, held = make_user(session), []
    for reason in ("The prompt makes no sense", "The prompt makes no sense: what is a frobnitz?", "I am tired"):
        held.append(make_assignment(session, alice))
        service.skip(session, alice, held[-1].id, reason)
        session.commit()
    assert found(session, alice, Queue.SKIPPED, reason="The prompt makes no sense") == [held[1].id, held[0].id]


def test_days_are_the_readers(session: Session) -> None:
    alice = make_user(session)
    said = make_annotation(session, alice)
    for zone in (UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))):
        today = said.created_at.astimezone(zone).date()
        day = timedelta(days=1)
        assert found(session, alice, since=today, until=today, zone=zone) == [said.assignment_id]
        assert found(session, alice, since=today + day, zone=zone) == []
        assert found(session, alice, until=today - day, zone=zone) == []


@pytest.mark.parametrize("queue", [Queue.SUBMITTED, Queue.SKIPPED])
def test_a_search_reads_a_bounded_number_of_items_and_goes_on_behind_them(
    session: Session, monkeypatch: pytest.MonkeyPatch, queue: Queue
) -> None:
    monkeypatch.setattr(queues, "WINDOW", 2)
    alice, wanted, other, made = make_user(session), make_batch(session), make_batch(session), []
    for batch in (wanted, other, other, other, wanted):
        comparison = make_comparison(session, batch=batch)
        if queue is Queue.SUBMITTED:
            made.append(make_annotation(session, alice, comparison).assignment_id)
        else:
            made.append(make_assignment(session, alice, comparison).id)
            service.skip(session, alice, made[-1], "no")
            session.commit()
    pages, before = [], None
    while True:
        page = queues.queue_page(session, alice, queue, Sought(batch_id=wanted.id), before=before)
        pages.append([row.id for row in page.rows])
        before = page.next
        if before is None:
            break
    assert pages == [[made[4]], [], [made[0]]]


def test_the_page_keeps_what_is_sought_and_says_how_strong_each_answer_was(
    client: TestClient, session: Session
) -> None:
    alice = make_user(session)
    asked(session, alice, "How long does a whale sleep?", strengths=[1])
    sign_in(client, alice)
    page = client.get("/queues/submitted?q=whale&edited=&outcome=ranked&from=2020-01-01&to=9999-99-99").text
    assert re.search(r"Your answer: [AB] is marginally better", page)
    assert 'value="whale"' in page
    assert "/queues/skipped?q=whale&amp;outcome=ranked&amp;from=2020-01-01" in page
    assert "No item matches this filter." in client.get("/queues/submitted?q=shark").text
    for strange in ("q=%00", "outcome=best", "batch=x", "from=0000-00-00", "to=9999-12-31", "reason=none"):
        assert "How long does a whale sleep?" in client.get(f"/queues/submitted?{strange}").text
    assert client.get("/queues/submitted?before=x").status_code == 422


def test_an_old_skip_is_read_as_it_was_and_undone_from_the_list(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice)
    service.skip(session, alice, held.id, "I do not read Latin")
    session.commit()
    page = sign_in(client, alice).get("/queues/skipped").text
    assert f'action="/assignments/{held.id}/undo"' in page
    item = client.get(f"/assignments/{held.id}").text
    assert "I do not read Latin" in item
    assert "What is the square root of" in item
    assert "Answer number 1" in item
    assert "zebra" not in item


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


def test_strengths_are_said_between_the_places() -> None:
    assert in_words(Outcome.RANKED, [[2], [1]], [1, 2], [2]) == "B is slightly better"
    assert (
        in_words(Outcome.RANKED, [[3], [2, 1], [4]], [1, 2, 3, 4], [4, 3])
        == "C, significantly better than A and B, better than D"
    )
    assert in_words(Outcome.TIE, [[1, 2]], [1, 2], []) == "all equally good"
