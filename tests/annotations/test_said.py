"""What was submitted, to be read again by who said it; corrected until the batch closes."""

from __future__ import annotations

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import recording, service
from app.annotations.forms import Submission
from app.annotations.models import Decision, Review
from app.judgements.judgement import Span
from app.judgements.vocabulary import Flag, Outcome, SpanLabel
from app.prompts.models import Batch, BatchState
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in


def test_alice_reads_all_that_she_said(client: TestClient, session: Session) -> None:
    alice, batch = make_user(session), make_batch(session)
    batch.attributes = [{"name": "helpful", "label": "Helpful", "scale": ["not at all", "wholly"]}]
    session.commit()
    held = make_assignment(session, alice, make_comparison(session, batch=batch, texts=["One two.", "One two three."]))
    said = Submission(
        fencing_token=held.fencing_token,
        outcome=Outcome.RANKED,
        ranking=[["B"], ["A"]],
        strengths=[2],
        edited_text="One <b>four</b>.",
        attributes={"A": {"helpful": 1}, "B": {"helpful": 2}},
        flags={"A": [Flag.UNSAFE]},
        spans=[Span(position="A", start=0, end=3, label=SpanLabel.FALSE, note="it is not")],
        comment="A <i>invents</i>.",
    )
    recording.submit(session, alice, held.id, said, "k")
    session.commit()
    page = sign_in(client, alice).get(f"/assignments/{held.id}").text
    for words in ("slightly better than the next", "Helpful: wholly", "Helpful: not at all", "“One”", "it is not"):
        assert words in page
    assert "A &lt;i&gt;invents&lt;/i&gt;." in page
    assert "<ins> &lt;b&gt;four&lt;/b&gt;.</ins>" in page
    assert f"/assignments/{held.id}?correct=1" in page
    assert "zebra" not in page
    assert sign_in(client, make_user(session, name="Charlie")).get(f"/assignments/{held.id}").status_code == 404


def test_the_reviewers_note_stands_there_and_a_closed_batch_takes_no_correction(
    client: TestClient, session: Session
) -> None:
    alice, batch = make_user(session), make_batch(session)
    annotation = make_annotation(session, alice, make_comparison(session, batch=batch), outcome=Outcome.TIE)
    rita = make_user(session, Role.REVIEWER, "Rita")
    session.add(
        Review(annotation_id=annotation.id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="Check again.")
    )
    session.commit()
    url = f"/assignments/{annotation.assignment_id}"
    page = sign_in(client, alice).get(url).text
    assert "Check again." in page
    assert "Equally good" in page
    assert f"{url}?correct=1" in page
    session.get_one(Batch, batch.id).state = BatchState.CLOSED
    session.commit()
    closed = client.get(url).text
    assert f"{url}?correct=1" not in closed
    assert "your submission is final" in closed


def test_of_a_skipped_item_only_that_is_said(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    held = make_assignment(session, alice)
    service.skip(session, alice, held.id, "no")
    session.commit()
    page = sign_in(client, alice).get(f"/assignments/{held.id}").text
    assert "You skipped this item" in page
    assert "Correct" not in page
