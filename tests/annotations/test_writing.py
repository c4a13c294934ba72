"""People write the answer where no response is shown: as drafts, submissions, corrections and checks of any other text."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import queries, recording, service
from app.annotations.forms import Submission
from app.annotations.models import STANDING, Annotation, Decision, RetractionScope
from app.comparisons.models import Comparison
from app.comparisons.seats import Held
from app.comparisons.service import ask_for_answers
from app.findings.models import Check
from app.judgements.judgement import Draft
from app.judgements.vocabulary import EditSource, Outcome
from app.kernel.errors import BadInput, Conflict, LeaseLost
from app.lineage import service as lineage
from app.preferences import queries as preferences
from app.preferences import trainable
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch, Prompt, PromptState
from app.quality import service as quality
from app.upkeep.promises import CHECKS
from tests.annotations.test_pages import form, start
from tests.factories import make_annotation, make_comparison, make_user, make_writing, sign_in


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def held(session: Session, alice: User) -> Held:
    """An item of Alice's without responses."""
    make_writing(session, "What is six times seven?")
    found = service.next_assignment(session, alice)
    assert found is not None
    return found


def written(held: Held, **values: Any) -> Submission:
    given: dict[str, Any] = {"outcome": "written", "edited_text": "It is 42."} | values
    return Submission(fencing_token=held.fencing_token, **given)


def standing(session: Session) -> Annotation:
    return session.scalars(select(Annotation).where(STANDING)).one()


def broken(session: Session) -> list[Any]:
    """What the promises between rows find wrong."""
    values = {"grace": 60, "lease": 60}
    return [row for check in CHECKS for row in session.execute(text(check.query), values)]


def test_an_answer_is_an_annotation_that_prefers_nothing(session: Session, alice: User, held: Held) -> None:
    assert held.order_shown == []
    recording.submit(session, alice, held.id, written(held, comment="Easy."), "k1")
    found = standing(session)
    assert (found.outcome, found.ranking, found.strengths, found.order_shown) == (Outcome.WRITTEN, [], [], [])
    assert (found.edited_text, found.edited_candidate_id, found.edit_source) == ("It is 42.", None, EditSource.DIRECT)
    assert session.get_one(Comparison, held.comparison_id).annotators_done == 1
    assert service.next_assignment(session, alice) is None
    session.commit()
    assert broken(session) == []


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"edited_text": None}, "Write the answer"),
        ({"edited_text": " \u200b"}, "Write the answer"),
        ({"outcome": "tie", "edited_text": None}, "no responses: write the answer"),
        ({"outcome": "ranked", "ranking": [["A"], ["B"]], "strengths": [3]}, "no responses: write the answer"),
        ({"ranking": [["A"]]}, "without a ranking"),
        ({"nothing_to_improve": True}, "without a ranking"),
        ({"revision_id": 7}, "without a ranking"),
        ({"flags": {"A": ["unsafe"]}}, "without ratings"),
        ({"spans": [{"position": "A", "start": 0, "end": 2, "label": "false"}]}, "without ratings"),
    ],
)
def test_what_is_about_responses_is_refused(
    session: Session, alice: User, held: Held, said: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        recording.submit(session, alice, held.id, written(held, **said), "k1")


def test_where_responses_are_shown_nothing_is_written_in_their_place(session: Session, alice: User) -> None:
    make_comparison(session)
    item = service.next_assignment(session, alice)
    assert item is not None
    with pytest.raises(BadInput, match="has responses"):
        recording.submit(session, alice, item.id, written(item), "k1")


def test_the_database_refuses_an_answer_beside_responses(session: Session, alice: User, held: Held) -> None:
    whole: dict[str, Any] = {"assignment_id": held.id, "comparison_id": held.comparison_id, "annotator_id": alice.id}
    whole |= {"outcome": Outcome.WRITTEN, "ranking": [], "strengths": [], "order_shown": [], "request_hash": b"\0" * 32}
    whole |= {"edited_text": "It is 42.", "edit_source": EditSource.DIRECT, "idempotency_key": "k1"}
    for wrong in ({"ranking": [[1]]}, {"order_shown": [1]}, {"edited_text": None, "edit_source": None}):
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(Annotation).values(whole | wrong))
    session.execute(insert(Annotation).values(whole))


def test_a_draft_a_second_try_and_a_lost_lease_are_those_of_any_submission(
    session: Session, alice: User, held: Held
) -> None:
    draft = Draft(outcome=Outcome.WRITTEN, edits={"A": "It is"})
    assert service.save_draft(session, alice, held.id, draft, 0) == 1
    once = recording.submit(session, alice, held.id, written(held), "k1")
    assert recording.submit(session, alice, held.id, written(held), "k1") == once
    with pytest.raises(Conflict, match="already submitted"):
        recording.submit(session, alice, held.id, written(held, edited_text="No, 41."), "k2")
    again = recording.undo(session, alice, held.id)
    assert again.draft is not None
    assert again.draft["edits"] == {"A": "It is 42."}
    with pytest.raises(LeaseLost):
        recording.submit(session, alice, held.id, written(held), "k3")
    recording.submit(session, alice, held.id, written(again), "k4")
    assert session.scalars(select(Annotation.id).where(STANDING)).all() != [once.id]


def test_two_people_may_each_write_one_and_a_third_is_not_asked(session: Session) -> None:
    item = make_writing(session, "Why?", wanted=2)[0]
    people = [make_user(session, name=name) for name in ("Alice", "Dora", "Emil")]
    for user in people[:2]:
        make_annotation(session, user, item, edited_text=f"{user.name} says so.")
    assert service.next_assignment(session, people[2]) is None
    prompts = trainable.judged(session, 10)
    assert (trainable.written(prompts), trainable.pairs(prompts, "reward", "keep_all", 1)) == (2, 0)


def test_a_returned_answer_is_corrected_and_counts_again(session: Session, alice: User) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    first = make_annotation(session, alice, make_writing(session)[0])
    quality.review(session, rita, first, Decision.RETURNED, "Say why.")
    session.commit()
    assert preferences.tally(session, ExportFilter(), 10) == []
    work = queries.access_work(session, alice, first.assignment_id, correct=True)
    assert (work.returned_note, work.texts) == ("Say why.", [])
    correction = Submission(fencing_token=1, outcome=Outcome.WRITTEN, edited_text="Because.", corrects=first.id)
    recording.submit(session, alice, first.assignment_id, correction, "k2")
    session.commit()
    assert [row.annotations for row in preferences.tally(session, ExportFilter(), 10)] == [1]
    assert standing(session).edited_text == "Because."


def test_it_is_no_known_answer_and_nobody_verifies_it(session: Session, alice: User) -> None:
    item = make_writing(session)[0]
    session.get_one(Batch, item.batch_id).verify_percent = 100
    said = make_annotation(session, alice, item)
    assert session.scalars(select(Comparison.id)).all() == [item.id]
    with pytest.raises(BadInput, match="Only a collected comparison"):
        quality.make_gold(session, make_user(session, Role.REVIEWER, "Rita"), said, "Plain.")


def test_what_was_written_is_checked_like_an_edit(session: Session, alice: User, held: Held) -> None:
    session.get_one(Prompt, session.get_one(Comparison, held.comparison_id).prompt_id).reference = "42"
    session.flush()
    recorded = recording.submit(session, alice, held.id, written(held), "k1")
    assert session.scalars(select(Check.annotation_id)).all() == [recorded.id]


def test_what_an_erased_person_wrote_is_blank_and_counts_nowhere(session: Session, alice: User) -> None:
    make_annotation(session, alice, make_writing(session)[0], edited_text="My secret.")
    bob = make_user(session, Role.ADMIN, "Bob")
    lineage.retract(session, bob, RetractionScope.PERSON, alice.id, "She asked.", erase=True)
    session.commit()
    assert standing(session).edited_text == ""
    assert preferences.tally(session, ExportFilter(), 10) == []


def test_making_items_again_makes_none(session: Session) -> None:
    item = make_writing(session, "Why?", "How?")[0]
    assert ask_for_answers(session, session.get_one(Batch, item.batch_id)) == 0
    assert set(session.scalars(select(Prompt.state))) == {PromptState.READY}


# ── Over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_it_is_written_through_the_api(session: Session, client: TestClient, alice: User) -> None:
    make_writing(session, "Why is the sky blue?")
    sign_in(client, alice)
    item = client.post("/api/v1/annotate/next", json={}).json()
    assert (item["batch"]["task"], item["responses"]) == ("write", [])
    body = {"fencing_token": item["fencing_token"], "outcome": "written", "edited_text": "It scatters."}
    headers = {"idempotency-key": secrets.token_hex(8)}
    answers = [client.post(f"/api/v1/assignments/{item['id']}/submit", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["outcome"] == "written"
    wanted = {"position": "A", "feedback": "Shorter.", "source_text": "It scatters.", "request_key": "r1"}
    revision = client.post(f"/api/v1/assignments/{item['id']}/revisions", json=wanted)
    assert (revision.status_code, revision.json()["detail"]) == (422, "Response A is not in this comparison.")


def test_the_whole_task_works_without_scripts(session: Session, client: TestClient, alice: User) -> None:
    make_writing(session, "Why is the sky blue?", "And the sea?")
    sign_in(client, alice)
    item = start(client)
    page = client.get(item)
    assert "Write the answer" in page.text
    assert '<input type="hidden" name="choice" value="written">' in page.text
    assert 'aria-label="How responses are shown"' not in page.text
    empty = client.post(f"{item}/submit", data=form(page, choice="written"))
    assert (empty.status_code, "Write the answer before you submit it." in empty.text) == (422, True)
    saved = client.post(f"{item}/draft", data=form(page, choice="written", edited_text="It scat"))
    assert saved.status_code == 303
    assert "It scat</textarea>" in client.get(item).text
    sent = client.post(
        f"{item}/submit", data=form(client.get(item), choice="written", edited_text="It scatters.\r\nSo.")
    )
    assert sent.headers["location"] != item
    assert standing(session).edited_text == "It scatters.\nSo."
    ended = client.get(item).text
    assert "What you wrote" in ended
    assert "It scatters." in ended
    assert "written from scratch" in client.get("/queues/submitted").text
    assert ">edited</span>" not in client.get("/queues/submitted").text


def test_a_reviewer_reads_it_and_finds_it_by_its_outcome(session: Session, client: TestClient, alice: User) -> None:
    said = make_annotation(session, alice, make_writing(session)[0], edited_text="It **scatters**.")
    make_annotation(session, alice, make_comparison(session))
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    listed = client.get("/review?outcome=written").text
    assert (listed.count("written from scratch"), listed.count("data-walk-to")) == (1, 1)
    page = client.get(f"/review/annotations/{said.id}").text
    assert "<strong>scatters</strong>" in page
    assert "This judgement cannot be a known answer" in page
    found = client.get(f"/api/v1/review/annotations/{said.id}").json()
    assert (found["responses"], found["said"]["edits"]) == ([], {"A": "It **scatters**."})
