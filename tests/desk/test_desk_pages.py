"""The pages of the desk: who may see them, what they show, what a form of many rows does, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import Role, User
from app.annotations import texts
from app.annotations.models import Adjudication, Annotation, AnnotationText, Decision, Retraction, Review
from app.comparisons.models import Comparison
from app.desk import queries
from app.desk.models import DeskView
from app.quality import service as quality
from tests.factories import make_annotation, make_comparison, make_user, sign_in


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session, name="Alice Liddell")


@pytest.fixture
def desk(client: TestClient, rita: User) -> TestClient:
    return sign_in(client, rita)


def reviews(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Review)) or 0


def said_after(client: TestClient, answer: Any) -> str:
    """The page that an act leads to."""
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["location"]).text


@pytest.mark.parametrize(
    "url", ["/desk", "/desk/chosen", "/desk/annotations/{}", "/api/v1/desk/annotations", "/api/v1/desk/views"]
)
def test_annotators_find_no_desk(client: TestClient, session: Session, alice: User, url: str) -> None:
    said = make_annotation(session, alice)
    assert sign_in(client, alice).get(url.format(said.id)).status_code in {403, 404}


def test_the_table_names_people_to_admins_alone(client: TestClient, session: Session, rita: User, bob: User) -> None:
    alice = make_user(session, name="Alice Liddell")
    make_annotation(session, alice, edited_text="Better.")
    seen = sign_in(client, rita).get("/desk").text
    assert alice.pseudonym in seen
    assert "Liddell" not in seen
    assert "zebra" not in seen, "nothing says which model wrote what"
    assert "/desk/retract" not in seen
    seen = sign_in(client, bob).get("/desk").text
    assert "Alice Liddell" in seen
    assert "/desk/retract" in seen


def test_filters_stand_in_the_address_and_in_the_form(desk: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice, comment="About otters.")
    other = make_annotation(session, alice)
    batch = session.get_one(Comparison, said.comparison_id).batch_id
    page = desk.get(f"/desk?q=otters&batch={batch}&annotator={alice.pseudonym}&language=German&from=2020-01-01").text
    assert "No annotation matches this filter." in page
    page = desk.get(f"/desk?q=otters&batch={batch}&annotator={alice.pseudonym}&from=2020-01-01&edited=0").text
    assert f"/desk/annotations/{said.id}?q=otters" in page
    assert f"/desk/annotations/{other.id}" not in page
    assert 'value="otters"' in page


@pytest.mark.parametrize(
    "query", ["batch=x&round=-1&outcome=no&strength=9&edited=x&from=1&to=9999-99-99&sort=no&language=zz", "q=%00", ""]
)
def test_what_makes_no_sense_filters_nothing(desk: TestClient, session: Session, alice: User, query: str) -> None:
    said = make_annotation(session, alice)
    assert f"/desk/annotations/{said.id}" in desk.get(f"/desk?{query}").text


def test_empty_tables_say_why(desk: TestClient, session: Session, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "as they are submitted" in desk.get("/desk").text
    said = make_annotation(session, alice)
    make_annotation(session, alice)
    assert "Show everything" in desk.get("/desk?q=nowhere").text
    assert "end of the list" in desk.get(f"/desk?before={said.id}").text
    monkeypatch.setattr(queries, "WINDOW", 1)
    page = desk.get("/desk?reviewed=accepted").text
    assert "Older ones may." in page
    assert "Next page" in page
    session.execute(delete(AnnotationText).where(AnnotationText.annotation_id == said.id))
    session.commit()
    monkeypatch.setattr(texts, "STRETCH", 1)
    assert "still being indexed" in desk.get("/desk").text


def test_chosen_rows_are_accepted_from_boxes_and_from_a_list(desk: TestClient, session: Session, alice: User) -> None:
    said = [make_annotation(session, alice).id for _ in range(3)]
    form = {"row": [f"{said[0]}:0", "nonsense"], "rows": f"{said[1]}:0 {said[2]}:0", "note": ""}
    answer = desk.post("/desk/accept?reviewed=not-reviewed", data=form)
    assert answer.headers["location"] == "/desk?reviewed=not-reviewed"
    assert "Accepted 3 annotations." in said_after(desk, answer)
    assert reviews(session) == 3


def test_rows_that_changed_meanwhile_are_named(desk: TestClient, session: Session, alice: User, bob: User) -> None:
    kept, changed = make_annotation(session, alice), make_annotation(session, alice)
    quality.review(session, bob, changed, Decision.ACCEPTED)
    session.commit()
    rows = {"row": [f"{kept.id}:0", f"{changed.id}:0"], "note": "Check the year."}
    page = said_after(desk, desk.post("/desk/return", data=rows))
    assert f"Returned 1 annotation. Left as they were: {changed.id} (reviewed meanwhile)." in page


def test_returning_without_a_note_keeps_what_was_chosen(desk: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    answer = desk.post("/desk/return", data={"row": f"{said.id}:0", "note": " "})
    assert answer.status_code == 422
    assert "Write what to look at again." in answer.text
    assert f'value="{said.id}:0" aria-label="Select annotation {said.id}" checked' in answer.text
    assert "Select at least one annotation." in desk.post("/desk/accept").text
    assert reviews(session) == 0


def test_items_are_assigned_and_taken_back(desk: TestClient, session: Session, alice: User, bob: User) -> None:
    said = make_annotation(session, alice)
    bea = make_user(session, name="Bea Wolf")
    group = teams.create(session, bob, "Second opinions", [bea.id])
    session.commit()
    page = desk.get("/desk").text
    assert f'<option value="team:{group.id}">Second opinions</option>' in page
    assert f'<option value="person:{bea.id}">{bea.pseudonym}</option>' in page
    assert "Wolf" not in page
    row = {"row": f"{said.id}:0", "note": ""}
    for to in ("", "person:x", "crowd:1", f"person:{2**40}"):
        answer = desk.post("/desk/assign", data=row | {"to": to})
        assert answer.status_code == 422, to
        assert "data-assign open" in answer.text
        assert f'value="{said.id}:0" aria-label="Select annotation {said.id}" checked' in answer.text
    assert "data-assign open" not in desk.post("/desk/return", data=row).text
    assigned = desk.post("/desk/assign?outcome=ranked", data=row | {"to": f"team:{group.id}"})
    page = said_after(desk, assigned)
    assert "Assigned the item of 1 annotation to Second opinions." in page
    assert '<span class="badge badge--accent">assigned</span>' in page
    page = said_after(desk, desk.post("/desk/unassign", data=row))
    assert "Took back the item of 1 annotation." in page
    page = said_after(desk, desk.post("/desk/unassign", data=row))
    assert f"{said.id} (it waits for nobody, or they have begun it)" in page


def test_all_that_match_are_given_to_the_script(desk: TestClient, session: Session, alice: User) -> None:
    said = [make_annotation(session, alice, comment=f"otter {n}").id for n in range(2)]
    make_annotation(session, alice)
    answer = desk.get("/desk/chosen?q=otter")
    assert answer.json() == {"rows": f"{said[1]}:0 {said[0]}:0", "count": 2, "whole": True}


def test_a_retraction_of_many_is_previewed_and_then_done(client: TestClient, session: Session, alice: User) -> None:
    bob = make_user(session, Role.ADMIN, "Bob")
    said = [make_annotation(session, alice).id for _ in range(2)]
    desk, rows = sign_in(client, bob), " ".join(f"{each}:0" for each in said)
    preview = desk.post("/desk/retract", data={"rows": rows})
    assert "Retract 2 annotations?" in preview.text
    assert session.scalar(select(func.count()).select_from(Retraction)) == 0
    assert "Select at least one" in desk.post("/desk/retract").text
    refused = desk.post("/desk/retract", data={"rows": rows, "confirmed": "true", "reason": " "})
    assert (refused.status_code, "Give a reason" in refused.text) == (422, True)
    done = desk.post("/desk/retract", data={"rows": rows, "confirmed": "true", "reason": "Swapped sides."})
    assert "Retracted 2 annotations." in said_after(desk, done)
    assert session.scalar(select(func.count()).select_from(Retraction)) == 2


def test_reviewers_retract_nothing(desk: TestClient, session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    assert desk.post("/desk/retract", data={"rows": f"{said.id}:0"}).status_code == 403
    body = {"rows": [{"id": said.id}], "reason": "Swapped sides."}
    assert desk.post("/api/v1/desk/retract", json=body).status_code == 403


def test_judgements_stand_side_by_side_in_the_same_letters(desk: TestClient, session: Session) -> None:
    item = make_comparison(session, wanted=2, texts=["Alpha.", "Beta."])
    one = make_annotation(session, make_user(session), item, comment="First.", edited_text="Alpha, rather.")
    two = make_annotation(session, make_user(session), item, comment="Second.")
    page = desk.get(f"/desk/annotations/{one.id}").text
    assert page.index("First.") < page.index("Second.")
    best = "AB"[one.order_shown.index(one.ranking[0][0])]
    assert page.count(f"<li><b>{best}</b>") == 2, "both put the same response first"
    assert "<h1" in page
    part = desk.get(f"/desk/annotations/{two.id}", headers={"hx-request": "true"}).text
    assert part.index("Second.") < part.index("First.")
    assert "<h1" not in part


def test_one_is_said_to_hold_and_the_item_is_opened_again(desk: TestClient, session: Session, rita: User) -> None:
    item = make_comparison(session, wanted=2)
    one, two = (make_annotation(session, make_user(session), item) for _ in range(2))
    own = make_annotation(session, rita)
    url = f"/desk/annotations/{one.id}"
    refused = desk.post(f"{url}/holds", data={"reason": ""})
    assert (refused.status_code, "Give the reason" in refused.text) == (422, True)
    page = said_after(desk, desk.post(f"{url}/holds", data={"reason": "Only B gives a source."}))
    assert "This judgement is settled" in page
    assert "overruled: it does not count" in page
    assert "Only B gives a source." in page
    table = desk.get("/desk?reviewed=adjudicated").text
    assert f"/desk/annotations/{two.id}" in table
    assert f"/desk/annotations/{own.id}" not in table
    assert "count again" in said_after(desk, desk.post(f"{url}/reopen"))
    assert "all counted already" in said_after(desk, desk.post(f"{url}/reopen"))
    assert desk.post(f"/desk/annotations/{own.id}/holds", data={"reason": "I am right."}).status_code == 409
    assert session.scalar(select(func.count()).where(Adjudication.ended_at.is_(None))) == 0


def test_an_item_that_the_reader_judges_and_what_was_corrected_is_not_opened(
    desk: TestClient, session: Session, rita: User, alice: User
) -> None:
    gone = make_annotation(session, alice)
    session.get_one(Annotation, gone.id).withdrawn_at = func.now()
    session.commit()
    assert desk.get(f"/desk/annotations/{gone.id}").status_code == 404
    assert desk.get("/desk/annotations/1099511627776").status_code == 404


def test_views_are_kept_and_deleted(desk: TestClient, session: Session) -> None:
    page = said_after(desk, desk.post("/desk/views?reviewed=not-reviewed&q=otters", data={"name": "To look at"}))
    assert "Saved as “To look at”." in page
    view = session.scalars(select(DeskView)).one()
    assert view.filters == "q=otters&reviewed=not-reviewed"
    assert f'href="/desk?{view.filters.replace("&", "&amp;")}" aria-current="page"' in page
    assert desk.post("/desk/views", data={"name": " "}).status_code == 422
    assert "Deleted." in said_after(desk, desk.post(f"/desk/views/{view.id}/delete"))
    assert desk.post(f"/desk/views/{view.id}/delete").status_code == 404


def test_the_page_of_preferences_says_how_many_were_overruled(desk: TestClient, session: Session) -> None:
    item = make_comparison(session, wanted=2)
    one, _ = (make_annotation(session, make_user(session), item) for _ in range(2))
    desk.post(f"/desk/annotations/{one.id}/holds", data={"reason": "Only B gives a source."})
    assert "1 judgement of items on which a reviewer settled for another one" in desk.get("/preferences").text
