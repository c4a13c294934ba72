"""What people see of findings, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates.models import Candidate
from app.comparisons.models import Assignment, Comparison
from app.findings import orders, service
from app.findings.models import Check
from app.judgements.vocabulary import ShowFindings
from app.prompts.models import Batch, Prompt
from tests.factories import make_assignment, make_batch, make_user, sign_in
from tests.findings.checking import checkable, found, submit
from tests.findings.test_edits import check_waiting

FAILS = "42 wanted"


def checked_item(
    session: Session, alice: User, when: ShowFindings = ShowFindings.AFTER, *, wait: bool = False
) -> Assignment:
    batch = make_batch(session)
    batch.show_findings = when
    item = make_assignment(session, alice, checkable(session, batch=batch))
    if not wait:
        check_waiting(session)
    return item


def seen(client: TestClient, item: Assignment, name: str = "A") -> str:
    answer = client.get(f"/assignments/{item.id}/findings/{name}", headers={"hx-request": "true"})
    assert answer.status_code == 200
    return str(answer.text)


def test_findings_are_hidden_until_the_item_is_submitted(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice)
    sign_in(client, alice)
    page = client.get(f"/assignments/{item.id}").text
    assert "findings-A" not in page
    assert FAILS not in page
    for name in ("A", "B", "edit"):
        assert "finding__chip" not in seen(client, item, name)
    submit(session, alice, item, edited_text="It is surely 42.")
    check_waiting(session)
    assert 'id="findings-A"' in client.get(f"/assignments/{item.id}").text
    both = seen(client, item, "A") + seen(client, item, "B")
    assert FAILS in both
    assert "1 of 1 tests" in both
    assert "Passed:" in seen(client, item, "edit")
    assert FAILS in client.get(f"/assignments/{item.id}/findings").text


def test_a_batch_may_show_them_while_one_judges_but_all_at_once(
    client: TestClient, session: Session, alice: User
) -> None:
    item = checked_item(session, alice, ShowFindings.JUDGING, wait=True)
    sign_in(client, alice)
    assert 'id="findings-A"' in client.get(f"/assignments/{item.id}").text
    held = service.claim(session)
    assert held is not None
    service.record(session, held, "", [found(False, FAILS)])
    for name in ("A", "B"):
        shown = seen(client, item, name)
        assert "finding__chip" not in shown, "which response was checked first is not told"
        assert "every 3s" in shown
    check_waiting(session)
    assert all("finding__chip" in seen(client, item, name) for name in ("A", "B"))


def test_a_batch_may_never_show_them(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice, ShowFindings.NEVER)
    sign_in(client, alice)
    assert "Run checks" not in client.get(f"/assignments/{item.id}").text
    submit(session, alice, item)
    assert "findings-A" not in client.get(f"/assignments/{item.id}").text
    assert "finding__chip" not in seen(client, item)
    refused = client.post(
        f"/assignments/{item.id}/check", data={"edited_text": "It is 42!"}, headers={"hx-request": "true"}
    )
    assert refused.status_code == 409


def test_nothing_is_shown_where_there_is_nothing_to_check(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    batch.show_findings = ShowFindings.JUDGING
    item = make_assignment(session, alice, checkable(session, batch=batch, reference=None))
    sign_in(client, alice)
    page = client.get(f"/assignments/{item.id}").text
    assert "findings-A" not in page
    assert "Run checks" not in page
    assert "finding__chip" not in seen(client, item)


def test_what_is_shown_names_no_model_and_no_time(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice, wait=True)
    while (held := service.claim(session)) is not None:
        evidence = {"wanted": "42", "seconds": 1.25, "runs": [{"ms": 13, "output": "<b>41</b>"}]}
        service.record(session, held, "", [found(False, FAILS, evidence=evidence)])
    submit(session, alice, item)
    sign_in(client, alice)
    shown = seen(client, item)
    assert "1.25" not in shown
    assert "zebra" not in shown
    assert "&lt;b&gt;41&lt;/b&gt;" in shown, "what a model wrote is text"


def test_what_could_not_be_checked_says_why_and_blames_nobody(
    client: TestClient, session: Session, alice: User
) -> None:
    item = checked_item(session, alice, wait=True)
    while (held := service.claim(session)) is not None:
        service.record(session, held, "", [found(None, "no sandbox here")])
    submit(session, alice, item)
    sign_in(client, alice)
    shown = seen(client, item)
    assert "holds: could not be checked" in shown
    assert "no sandbox here" in shown
    assert "This does not count against the response." in shown


def test_others_and_other_positions_find_nothing(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice, ShowFindings.JUDGING)
    sign_in(client, make_user(session, name="Charlie"))
    for path in ("findings", "findings/A", "check"):
        assert client.get(f"/assignments/{item.id}/{path}").status_code == 404
    assert client.post(f"/assignments/{item.id}/check", data={"edited_text": "It is 42!"}).status_code == 404
    sign_in(client, alice)
    assert client.get(f"/assignments/{item.id}/findings/Z").status_code == 404


def test_alice_has_her_edit_checked_in_place(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice)
    sign_in(client, alice)
    assert "Run checks" in client.get(f"/assignments/{item.id}").text
    exchange = {"hx-request": "true"}
    asked = client.post(f"/assignments/{item.id}/check", data={"edited_text": "It is surely 42."}, headers=exchange)
    assert "Checking your edit" in asked.text
    assert "every 1s" in asked.text
    check_waiting(session)
    done = client.get(f"/assignments/{item.id}/check", headers=exchange).text
    assert "1 of 1 tests" in done
    assert "every 1s" not in done


def test_scripts_send_the_whole_draft_and_the_edit_of_the_first_place_is_checked(
    client: TestClient, session: Session, alice: User
) -> None:
    item = checked_item(session, alice)
    sign_in(client, alice)
    draft = {"ranking": [["B"], ["A"]], "edits": {"A": "It is surely 41.", "B": "It is surely 42."}}
    form = {"fencing_token": "1", "draft_version": "0", "key": "a-key-of-ours", "judgement": json.dumps(draft)}
    exchange = {"hx-request": "true"}
    assert "Checking your edit" in client.post(f"/assignments/{item.id}/check", data=form, headers=exchange).text
    assert session.scalars(select(Check.draft).where(Check.assignment_id == item.id)).one() == "It is surely 42."

    broken = client.post(f"/assignments/{item.id}/check", data=form | {"judgement": "{"}, headers=exchange)
    assert (broken.status_code, broken.headers["hx-retarget"]) == (422, "#edit-check")


@pytest.mark.parametrize(
    ("written", "status", "said"),
    [
        ("", 422, "There is nothing to check yet"),
        ("It is\n42. ", 422, "This is an unchanged response"),
    ],
)
def test_what_cannot_be_checked_is_said_beside_the_button(
    client: TestClient, session: Session, alice: User, written: str, status: int, said: str
) -> None:
    item = checked_item(session, alice)
    sign_in(client, alice)
    answer = client.post(f"/assignments/{item.id}/check", data={"edited_text": written}, headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-retarget"]) == (status, "#edit-check")
    assert said in answer.text


def test_without_scripts_the_saved_draft_is_checked(client: TestClient, session: Session, alice: User) -> None:
    item = checked_item(session, alice)
    item.draft = {"edits": {"A": "It is surely 42."}}
    session.commit()
    sign_in(client, alice)
    assert client.post(f"/assignments/{item.id}/check").headers["location"] == f"/assignments/{item.id}/findings"
    check_waiting(session)
    assert "1 of 1 tests" in client.get(f"/assignments/{item.id}/findings").text


# ── Staff ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def prefer(session: Session, alice: User, best: str, **values: Any) -> Comparison:
    """Alice prefers the response whose text is ``best``."""
    comparison = checkable(session, **values)
    check_waiting(session)
    item = make_assignment(session, alice, comparison)
    if session.get_one(Candidate, item.order_shown[0]).text != best:
        item.order_shown = list(reversed(item.order_shown))
        session.commit()
    submit(session, alice, item)
    return comparison


def test_where_people_preferred_what_fails_there_is_something_to_review(
    client: TestClient, session: Session, alice: User, rita: User
) -> None:
    prefer(session, alice, "It is 42.")
    wrong = prefer(session, alice, "It is 41.")
    sign_in(client, rita)
    page = client.get("/checks").text
    assert "A fails (42 wanted) and was ranked above B" in page
    assert page.count("fails (") == 1
    assert session.get_one(Prompt, wrong.prompt_id).external_id in page
    assert ">2<" in page.replace(" ", ""), "two passed"
    annotation = page.partition("/review/annotations/")[2].partition('"')[0]
    review = client.get(f"/review/annotations/{annotation}").text
    assert "42 wanted" in review
    assert "finding__chip" in review


def test_what_could_not_be_checked_is_no_conflict(
    client: TestClient, session: Session, alice: User, rita: User
) -> None:
    item = checked_item(session, alice, wait=True)
    while (held := service.claim(session)) is not None:
        service.record(session, held, "", [found(None)])
    submit(session, alice, item)
    sign_in(client, rita)
    assert "Nobody ranked a failing response" in client.get("/checks").text


def test_an_item_that_the_reviewer_is_judging_is_left_out(
    client: TestClient, session: Session, alice: User, rita: User
) -> None:
    batch = make_batch(session, annotators_per_prompt=2)
    prefer(session, alice, "It is 41.", batch=batch)
    sign_in(client, rita)
    make_assignment(session, rita, session.query(Comparison).filter_by(batch_id=batch.id).one())
    assert "Nobody ranked a failing response" in client.get("/checks").text


def test_alice_sees_no_page_of_checks(client: TestClient, alice: User) -> None:
    sign_in(client, alice)
    assert client.get("/checks").status_code in {403, 404}


def test_the_batch_page_shows_how_far_checks_are_and_bob_checks_again(
    client: TestClient, session: Session, bob: User
) -> None:
    comparison = checkable(session, "unsure", "It is 42.")
    batch = session.get_one(Batch, comparison.batch_id)
    sign_in(client, bob)
    progress = client.get(f"/batches/{batch.id}/progress").text
    assert "0 of 2" in progress
    assert "every 2s" in progress
    assert "is away" not in progress
    held = service.claim(session)
    assert held is not None
    assert service.put_off(session, held, "The service is away.")
    session.commit()
    assert "1 text waits to be checked" in client.get(f"/batches/{batch.id}/progress").text
    session.execute(update(Check).values(next_try_at=func.now()))
    session.commit()
    check_waiting(session)
    progress = client.get(f"/batches/{batch.id}/progress").text
    assert "1 text could not be checked" in progress
    assert client.post(f"/batches/{batch.id}/check-again").status_code == 303
    assert "1 of 2" in client.get(f"/batches/{batch.id}/progress").text
    assert orders.check_again(session, bob, batch) == 0


def test_settings_of_checks_are_in_the_form_and_can_be_changed(
    client: TestClient, session: Session, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.prompts.verifiers.known", lambda: ("answer", "language"))
    batch = make_batch(session)
    sign_in(client, bob)
    assert "What checks responses" in client.get(f"/batches/{batch.id}").text
    url = f"/batches/{batch.id}/settings"
    sent = {"verifiers": "answer, language", "required": "answer", "show_findings": "judging"}
    assert client.post(url, data=sent).status_code == 303
    session.expire_all()
    assert (batch.verifiers, batch.required, batch.show_findings) == (
        ["answer", "language"],
        ["answer"],
        ShowFindings.JUDGING,
    )
    wrong = client.post(url, data={"verifiers": "anwser"})
    assert wrong.status_code == 422
    assert "No verifier is called “anwser”: there are answer, language" in wrong.text
    for text, kept in (("none", []), ("", None)):
        client.post(url, data={"verifiers": text})
        session.expire_all()
        assert batch.verifiers == kept


def test_the_lineage_of_an_annotation_shows_them_to_staff(
    client: TestClient, session: Session, alice: User, bob: User
) -> None:
    item = checked_item(session, alice)
    said = submit(session, alice, item, edited_text="It is surely 42.")
    check_waiting(session)
    page = sign_in(client, bob).get(f"/lineage/annotations/{said.id}").text
    assert FAILS in page
    assert "1 of 1 tests" in page
    assert "<h3>Edit</h3>" in page
