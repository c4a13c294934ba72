"""People label the steps of one response: drafts, submissions, corrections and reviews as of any other judgement."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import queries, recording, service
from app.annotations.forms import Submission
from app.annotations.models import STANDING, Annotation, Decision, RetractionScope, StepLabel
from app.candidates.models import Candidate
from app.comparisons.models import Comparison
from app.comparisons.seats import Held
from app.judgements.judgement import Draft
from app.judgements.vocabulary import EditPolicy, Outcome
from app.kernel.errors import BadInput, Conflict, LeaseLost
from app.lineage import service as lineage
from app.preferences import queries as preferences
from app.preferences.forms import ExportFilter
from app.prompts.models import Batch
from app.quality import service as quality
from app.registry.models import Checkpoint
from app.upkeep.promises import CHECKS
from tests.annotations.test_pages import form, start
from tests.factories import make_comparison, make_labelling, make_labels, make_user, sign_in

SOLUTION = "  2 + 2 = 4\n\n4 + 1 = 6\nSo it is 6."


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice")


@pytest.fixture
def held(session: Session, alice: User) -> Held:
    """Alice's item of three steps, the second of them wrong."""
    make_labelling(session, SOLUTION)
    found = service.next_assignment(session, alice)
    assert found is not None
    return found


def labelled(held: Held, *labels: int, **values: Any) -> Submission:
    given: dict[str, Any] = {"outcome": "labelled", "step_labels": list(labels)} | values
    return Submission(fencing_token=held.fencing_token, **given)


def stored(session: Session) -> list[tuple[int, str, int, str | None]]:
    """Place, text, label and correction of each labelled step of what stands."""
    rows = session.execute(
        select(StepLabel, Candidate.text)
        .join(Candidate, Candidate.id == StepLabel.candidate_id)
        .join(Annotation, Annotation.id == StepLabel.annotation_id)
        .where(STANDING)
        .order_by(StepLabel.place)
    )
    return [(each.place, said[each.starts : each.ends], each.label, each.correction) for each, said in rows]


def test_each_step_is_kept_with_its_characters_up_to_the_first_wrong_one(
    session: Session, alice: User, held: Held
) -> None:
    assert len(held.order_shown) == 1
    recording.submit(session, alice, held.id, labelled(held, 1, -1, right_step="4 + 1 = 5", comment="Slip."), "k1")
    assert stored(session) == [(0, "2 + 2 = 4", 1, None), (1, "4 + 1 = 6", -1, "4 + 1 = 5")]
    found = session.scalars(select(Annotation).where(STANDING)).one()
    assert (found.outcome, found.ranking, found.strengths, found.edited_text) == (Outcome.LABELLED, [], [], None)
    assert session.get_one(Comparison, held.comparison_id).annotators_done == 1
    session.commit()
    values = {"grace": 60, "lease": 60}
    assert [row for check in CHECKS for row in session.execute(text(check.query), values)] == []


@pytest.mark.parametrize(
    ("labels", "said", "complaint"),
    [
        ((), {}, "Label the steps"),
        ((1,), {}, "Label step 2 of 3"),
        ((1, 0, 1, 1), {}, "has 3 steps"),
        ((-1, 1), {}, "What follows a wrong step"),
        ((1, 1, 1), {"right_step": "5"}, "labelled none as wrong"),
        ((1, -1), {"right_step": " \u200b"}, "right step is empty"),
        ((1, -1), {"right_step": " 4 + 1 = 6"}, "same as the wrong one"),
        ((1, -1), {"outcome": "tie"}, "asks for labels of steps"),
        ((1, -1), {"ranking": [["A"]]}, "Nothing else"),
        ((1, -1), {"edited_text": "No."}, "Nothing else"),
        ((1, -1), {"flags": {"A": ["unsafe"]}}, "Nothing else"),
    ],
)
def test_what_does_not_fit_the_steps_is_refused(
    session: Session, alice: User, held: Held, labels: tuple[int, ...], said: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        recording.submit(session, alice, held.id, labelled(held, *labels, **said), "k1")


@pytest.mark.parametrize(
    ("policy", "right", "complaint"),
    [
        (EditPolicy.REQUIRED, "", "requires the right step"),
        (EditPolicy.NONE, "4 + 1 = 5", "does not ask for the right"),
    ],
)
def test_the_batch_says_whether_the_right_step_is_asked_for(
    session: Session, alice: User, held: Held, policy: EditPolicy, right: str, complaint: str
) -> None:
    session.scalars(select(Batch)).one().edit_policy = policy
    session.flush()
    with pytest.raises(BadInput, match=complaint):
        recording.submit(session, alice, held.id, labelled(held, 1, -1, right_step=right), "k1")
    recording.submit(session, alice, held.id, labelled(held, 1, 0, 1), "k2")


def test_where_responses_are_compared_no_steps_are_labelled(session: Session, alice: User) -> None:
    make_comparison(session)
    item = service.next_assignment(session, alice)
    assert item is not None
    with pytest.raises(BadInput, match="Nobody labels steps here"):
        recording.submit(session, alice, item.id, labelled(item, 1), "k1")


def test_one_key_records_once_and_an_old_token_records_nothing(session: Session, alice: User, held: Held) -> None:
    one = recording.submit(session, alice, held.id, labelled(held, 1, -1), "k1")
    assert recording.submit(session, alice, held.id, labelled(held, 1, -1), "k1").id == one.id
    with pytest.raises(BadInput, match="another submission"):
        recording.submit(session, alice, held.id, labelled(held, 1, 0, 1), "k1")
    with pytest.raises(Conflict, match="already submitted"):
        recording.submit(session, alice, held.id, labelled(held, 1, -1), "k2")
    again = recording.undo(session, alice, held.id)
    assert again.draft is not None
    assert (again.draft["outcome"], again.draft["step_labels"]) == ("labelled", [1, -1])
    with pytest.raises(LeaseLost):
        recording.submit(session, alice, held.id, labelled(held, 1, -1), "k3")
    recording.submit(session, alice, held.id, labelled(again, 1, 0, 0), "k4")
    assert [label for _, _, label, _ in stored(session)] == [1, 0, 0]


def test_labels_are_never_changed_but_for_erasing(session: Session, alice: User) -> None:
    make_labels(session, alice, make_labelling(session)[0], 1, -1, right_step="My secret.")
    for statement in (
        "UPDATE step_labels SET label = 0",
        "UPDATE step_labels SET correction = ''",
        "DELETE FROM step_labels",
    ):
        with pytest.raises(IntegrityError, match="append-only"), session.begin_nested():
            session.execute(text(statement))
    bob = make_user(session, Role.ADMIN, "Bob")
    lineage.retract(session, bob, RetractionScope.PERSON, alice.id, "She asked.", erase=True)
    session.commit()
    assert [(label, correction) for _, _, label, correction in stored(session)] == [(1, None), (-1, "")]
    assert preferences.count_labelled(session, ExportFilter(), 0) == 0


def test_returned_labels_are_corrected_and_count_again(session: Session, alice: User) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    first = make_labels(session, alice, make_labelling(session)[0], -1)
    quality.review(session, rita, first, Decision.RETURNED, "The first one holds.")
    session.commit()
    assert preferences.count_labelled(session, ExportFilter(), 0) == 0
    work = queries.access_work(session, alice, first.assignment_id, correct=True)
    assert work.draft is not None
    assert (work.returned_note, work.draft["step_labels"]) == ("The first one holds.", [-1])
    said: dict[str, Any] = {"outcome": "labelled", "step_labels": [1, -1], "right_step": "5", "corrects": first.id}
    recording.submit(session, alice, first.assignment_id, Submission(fencing_token=1, **said), "k2")
    session.commit()
    assert preferences.count_labelled(session, ExportFilter(), 0) == 2
    with pytest.raises(BadInput, match="Only a collected comparison"):
        quality.make_gold(session, rita, session.scalars(select(Annotation).where(STANDING)).one(), "Plain.")


# ── Over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_they_are_labelled_through_the_api_blind(session: Session, client: TestClient, alice: User) -> None:
    make_labelling(session, SOLUTION)
    sign_in(client, alice)
    item = client.post("/api/v1/annotate/next", json={}).json()
    assert item["batch"]["task"] == "steps"
    assert item["steps_to_label"][0] == {"start": 2, "end": 11, "text": "2 + 2 = 4"}
    assert not any(name in str(item) for name in session.scalars(select(Checkpoint.name)))
    body = {"fencing_token": item["fencing_token"], "outcome": "labelled", "step_labels": [1, -1], "right_step": "5"}
    headers = {"idempotency-key": secrets.token_hex(8)}
    answers = [client.post(f"/api/v1/assignments/{item['id']}/submit", json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert client.post(f"/api/v1/assignments/{item['id']}/submit", json=body).status_code == 422
    sign_in(client, make_user(session, name="Dora"))
    assert client.get(f"/api/v1/assignments/{item['id']}").status_code == 404
    assert client.post(f"/api/v1/assignments/{item['id']}/submit", json=body, headers=headers).status_code == 404


def test_the_whole_task_works_without_scripts(session: Session, client: TestClient, alice: User) -> None:
    make_labelling(session, SOLUTION, "One step.")
    sign_in(client, alice)
    item = start(client)
    page = client.get(item)
    assert "Which step is the first wrong one?" in page.text
    assert page.text.count('role="group" tabindex="-1"') == 3
    assert "zebra-base" not in page.text
    half = client.post(f"{item}/submit", data=form(page, choice="labelled", **{"step.0": "1"}))
    assert (half.status_code, "Label step 2 of 3" in half.text) == (422, True)
    fields = {"step.0": "1", "step.1": "-1", "step.2": "1", "right_step": "4 + 1\r\n= 5"}
    assert client.post(f"{item}/draft", data=form(page, choice="labelled", **fields)).status_code == 303
    kept = Draft.model_validate(queries.access_work(session, alice, int(item.rpartition("/")[2])).draft)
    assert (kept.step_labels, kept.right_step) == ([1, -1], "4 + 1\n= 5")
    page = client.get(item)
    assert page.text.count(" checked>") == 2 + page.text.count("data-keys-on checked>")
    sent = client.post(f"{item}/submit", data=form(page, choice="labelled", **fields))
    assert sent.headers["location"] != item
    assert stored(session)[1] == (1, "4 + 1 = 6", -1, "4 + 1\n= 5")
    ended = client.get(item).text
    for words in ("Your labels", "Wrong", "It should be:", "not labelled"):
        assert words in ended, words
    assert "steps labelled" in client.get("/queues/submitted").text


def test_a_reviewer_reads_them_and_finds_them_by_their_outcome(
    session: Session, client: TestClient, alice: User
) -> None:
    said = make_labels(session, alice, make_labelling(session)[0], 1, -1, right_step="4 + 1 = **5**")
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.get("/review?outcome=labelled").text.count("data-walk-to") == 1
    page = client.get(f"/review/annotations/{said.id}").text
    assert "<strong>5</strong>" in page
    assert "This judgement cannot be a known answer" in page
    found = client.get(f"/api/v1/review/annotations/{said.id}").json()
    assert (found["said"]["step_labels"], found["said"]["right_step"]) == ([1, -1], "4 + 1 = **5**")
