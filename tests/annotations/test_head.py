"""The line above an item: what is counted there, in one bounded statement, and what is said of the batch and of cut-off texts."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import day, queries, recording
from app.annotations.models import Decision, Review
from app.candidates.models import Candidate
from app.comparisons.models import Assignment, Comparison
from app.prompts.models import Batch
from tests.annotations.test_pages import EXCHANGE, form, start
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_candidate,
    make_comparison,
    make_prompt,
    make_user,
    sign_in,
)


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


def texts(session: Session, user: User, batch: Batch) -> list[str]:
    return day.head(session, user, batch.id).texts


def fill(session: Session, user: User, batch: Batch, *, done: int, left: int) -> None:
    for _ in range(done):
        make_annotation(session, user, make_comparison(session, batch=batch))
    for _ in range(left):
        make_comparison(session, batch=batch)


def test_it_counts_the_day_the_batch_and_the_median(session: Session, alice: User) -> None:
    batch, other = make_batch(session), make_batch(session, name="Another")
    assert texts(session, alice, batch) == ["0 today", "0 of 0 in this batch"]
    fill(session, alice, batch, done=2, left=3)
    fill(session, alice, other, done=1, left=0)
    assert texts(session, alice, batch) == ["3 today", "2 of 5 in this batch", "12 s median"]
    make_assignment(
        session, alice, session.scalars(select(Comparison).where(Comparison.batch_id == batch.id)).all()[-1]
    )
    assert texts(session, alice, batch)[1] == "2 of 5 in this batch", "what one holds waits as well"
    alice.preferences = {"daily_goal": 100}
    assert texts(session, alice, batch)[0] == "3 of 100 today"
    dora = make_user(session, name="Dora")
    assert texts(session, dora, batch) == ["0 today", "0 of 2 in this batch"]


def test_what_is_taken_back_counts_no_more(session: Session, alice: User) -> None:
    batch = make_batch(session)
    said = make_annotation(session, alice, make_comparison(session, batch=batch))
    recording.undo(session, alice, said.assignment_id)
    session.commit()
    assert texts(session, alice, batch) == ["0 today", "0 of 1 in this batch"]


def test_counting_stops(session: Session, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, other = make_batch(session, name="Earlier"), make_batch(session, name="Later")
    fill(session, alice, batch, done=2, left=3)
    fill(session, alice, other, done=1, left=0)
    monkeypatch.setattr(day, "COUNT_UP_TO", 3)
    assert texts(session, alice, batch)[1] == "2 in this batch", "more wait than are counted"
    monkeypatch.setattr(day, "RECENT", 2)
    monkeypatch.setattr(day, "_HEAD", day._head())
    assert texts(session, alice, batch)[1:] == ["12 s median"], "work in the batch may be older than what is looked at"


def test_a_qualification_decides_what_waits(session: Session, alice: User) -> None:
    batch = make_batch(session)
    batch.qualification_items, batch.qualification_percent = 1, 50
    make_comparison(session, batch=batch)
    assert texts(session, alice, batch)[1] == "0 in this batch"


@pytest.mark.parametrize(("seconds", "said"), [(12.4, "12 s median"), (99.4, "99 s median"), (150.0, "2 min median")])
def test_the_median_is_said_in_words(seconds: float, said: str) -> None:
    assert day.Head(1, 0, seconds, None, 4, 0).texts == ["1 today", "4 left in this batch", said]


def test_returned_work_is_a_link_until_it_is_corrected(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    said = make_annotation(session, alice, make_comparison(session, batch=batch))
    make_comparison(session, batch=batch)
    sign_in(client, alice)
    item = start(client)
    assert "/queues/returned" not in client.get(item).text
    reviewer = make_user(session, name="Rita")
    session.add(Review(annotation_id=said.id, reviewer_id=reviewer.id, verdict=Decision.RETURNED, note="Look again."))
    session.commit()
    assert '<a class="badge badge--warn" href="/queues/returned">1 returned</a>' in client.get(item).text
    session.add(Review(annotation_id=said.id, reviewer_id=reviewer.id, verdict=Decision.ACCEPTED))
    session.commit()
    assert "/queues/returned" not in client.get(item).text


def test_it_is_one_statement(session: Session, alice: User) -> None:
    batch = make_batch(session)
    fill(session, alice, batch, done=1, left=1)
    alice.preferences, batch_id = {**alice.preferences}, batch.id
    session.commit()
    _ = alice.id, alice.preferences
    statements: list[str] = []
    connection = session.connection()
    event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
    day.head(session, alice, batch_id)
    assert len(statements) == 1


@pytest.mark.parametrize("exchange", [True, False])
def test_the_page_says_when_the_batch_changes(
    client: TestClient, session: Session, alice: User, *, exchange: bool
) -> None:
    first, second = make_batch(session, name="Letters"), make_batch(session, name="Sums")
    for batch in (first, first, second):
        make_comparison(session, prompt=(prompt := make_prompt(session, batch)))
        prompt.capability = "reasoning"
    session.commit()
    sign_in(client, alice)
    item, said = start(client), []
    for _ in range(2):
        page = client.get(item)
        headers = EXCHANGE if exchange else {}
        answer = client.post(f"{item}/submit", data=form(page, choice="A3"), headers=headers, follow_redirects=False)
        said.append(answer.text if exchange else client.get(answer.headers["location"]).text)
        item = answer.headers["hx-push-url"] if exchange else answer.headers["location"].partition("?")[0]
    assert "Letters · reasoning" in said[0]
    assert "data-moved" not in said[0]
    assert "<b data-moved>Now: Sums</b> · reasoning" in said[1]


def cut_texts(session: Session, assignment: Assignment, user: User) -> dict[str, bool]:
    work = queries.access_work(session, user, assignment.id)
    return dict(zip(work.texts, work.cut or [], strict=True))


def test_a_response_that_the_limit_cut_off_says_so(client: TestClient, session: Session, alice: User) -> None:
    prompt = make_prompt(session, make_batch(session))
    make_candidate(session, prompt, "For 100 there", sample_index=1, finish_reason="length")
    comparison = make_comparison(session, prompt=prompt, texts=["There are 10."])
    held = make_assignment(session, alice, comparison)
    assert cut_texts(session, held, alice) == {"For 100 there": True, "There are 10.": False}
    sign_in(client, alice)
    assert client.get(f"/assignments/{held.id}").text.count("Cut off at the token limit") == 1


@pytest.mark.parametrize(("ending", "is_cut"), [("", True), (" are 4,950.", False)])
def test_an_edit_is_cut_off_where_its_original_still_is(
    session: Session, alice: User, ending: str, *, is_cut: bool
) -> None:
    """Whether a text was edited is not to be told by it: a comparison that verifies an edit looks like any other."""
    batch = make_batch(session)
    batch.verify_percent = 100
    prompt = make_prompt(session, batch)
    long = "A sentence of more than forty characters, and then for 100 there"
    make_candidate(session, prompt, long, sample_index=1, finish_reason="length")
    comparison = make_comparison(session, prompt=prompt, texts=["There are 10."])
    first = session.scalars(select(Candidate.id).where(Candidate.text == long)).one()
    others = session.scalars(select(Candidate.id).where(Candidate.prompt_id == prompt.id, Candidate.id != first)).all()
    edited = long.replace("A sentence", "One sentence") + ending
    make_annotation(session, alice, comparison, ranking=[[first], *([other] for other in others)], edited_text=edited)
    rita = make_user(session, name="Rita")
    assert cut_texts(session, make_assignment(session, rita, comparison), rita) == {long: True, edited: is_cut}
