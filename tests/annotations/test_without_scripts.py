"""Alice annotates without scripts: the form is plain HTML, and what she types is kept as it is with them."""

from __future__ import annotations

import re

import orjson
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations.models import Annotation
from app.judgements.vocabulary import EditPolicy
from tests.annotations.test_pages import form, start
from tests.factories import make_batch, make_comparison, make_user, sign_in


@pytest.fixture
def alice(client: TestClient, session: Session) -> User:
    """Alice, signed in."""
    user = make_user(session)
    sign_in(client, user)
    return user


def test_the_whole_task_works_without_scripts(client: TestClient, session: Session, alice: User) -> None:
    batch = make_batch(session)
    for _ in range(2):
        make_comparison(session, batch=batch)
    item = start(client)
    page = client.get(item)
    sent = form(page, choice="B4", edited_text="A better answer.\r\nIn two lines.", comment="Why not")
    answer = client.post(f"{item}/submit", data=sent)
    assert answer.status_code == 303
    assert answer.headers["location"] != item
    stored = session.scalars(select(Annotation)).one()
    assert stored.ranking == [[stored.order_shown[1]], [stored.order_shown[0]]]
    assert stored.strengths == [4]
    assert stored.edited_candidate_id == stored.order_shown[1]
    assert stored.edited_text == "A better answer.\nIn two lines."
    assert "What you said" in client.get(item).text


def test_ranks_and_strengths_work_without_scripts(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session, n=4)
    item = start(client)
    ranks = {"rank": ["2", "1", "2", "4"], "strength": ["3", "1", ""]}
    client.post(f"{item}/submit", data=form(client.get(item), **ranks))
    stored = session.scalars(select(Annotation)).one()
    a, b, c, d = stored.order_shown
    assert stored.ranking == [[b], [a, c], [d]]
    assert stored.strengths == [3, 1]


@pytest.mark.parametrize("headers", [{}, {"hx-request": "true"}])
def test_a_page_that_was_open_during_an_upgrade_is_refused_with_its_draft_kept(
    client: TestClient, session: Session, alice: User, headers: dict[str, str]
) -> None:
    make_comparison(session, n=3)
    item = start(client)
    draft = {"outcome": "ranked", "ranking": [["B"], ["A"], ["C"]], "strengths": [2, 1], "comment": "with care"}
    client.put(f"/api/v1{item}/draft", json={"version": 0, "draft": draft})
    # what scripts sent of a ranking before the submit became the JSON of the draft
    sent = form(client.get(item), order="B2A1C", edited_position="", active_seconds="3.0", comment="with care")
    refused = client.post(f"{item}/submit", data=sent, headers=headers)
    assert refused.status_code == 422
    assert "Please correct: there is no field" in refused.text
    assert "reload it: your draft is kept" in refused.text
    assert session.scalars(select(Annotation)).all() == []
    again = client.get(item)
    assert "with care" in again.text
    client.post(f"{item}/submit", data=form(again, judgement=orjson.dumps(draft).decode()))
    assert session.scalars(select(Annotation)).one().comment == "with care"


def test_without_scripts_an_edit_goes_with_whatever_is_chosen_in_the_end(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session, texts=["one", "two"])
    item = start(client)
    client.post(f"{item}/draft", data=form(client.get(item), edited_text="typed before the choice"))
    page = client.get(item)
    assert "typed before the choice" in page.text
    client.post(f"{item}/draft", data=form(page, choice="A1", edited_text="mine"))
    page = client.get(item)
    sent = form(page, choice="B2", edited_text="mine")
    refused = client.post(f"{item}/submit", data=sent | {"comment": "x" * 10_001})
    assert "typed before the choice" not in refused.text
    client.post(f"{item}/submit", data=sent)
    stored = session.scalars(select(Annotation)).one()
    assert (stored.edited_text, stored.edited_candidate_id) == ("mine", stored.order_shown[1])


def test_a_draft_shows_its_edit_whatever_is_chosen(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    draft = {"outcome": "ranked", "ranking": [["B"], ["A"]], "strengths": [2], "edits": {"A": "half a sen"}}
    client.put(f"/api/v1{item}/draft", json={"version": 0, "draft": draft})
    assert re.search(r"<textarea[^>]*>\s*half a sen", client.get(item).text)


def test_where_two_share_the_first_place_the_form_asks_which_was_edited(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session, n=3)
    item = start(client)
    values: dict[str, object] = {"rank": ["1", "1", "2"], "strength": ["2", ""], "edited_text": "better"}
    page = client.get(item)
    assert "Which response was edited" in page.text
    refused = client.post(f"{item}/submit", data=form(page, **values))
    assert "choose which one you edited" in refused.text
    client.post(f"{item}/draft", data=form(page, edited_position="B", **values))
    page = client.get(item)
    assert re.search(r'value="B" selected', page.text)
    client.post(f"{item}/submit", data=form(page, edited_position="B", **values))
    stored = session.scalars(select(Annotation)).one()
    assert stored.edited_candidate_id == stored.order_shown[1]


def test_two_windows_without_scripts_do_not_overwrite_each_other(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session)
    item = start(client)
    one, other = client.get(item), client.get(item)
    client.post(f"{item}/draft", data=form(other, comment="from the other window"))
    refused = client.post(f"{item}/draft", data=form(one, comment="from this window"))
    assert refused.status_code == 409
    assert "A newer draft was saved in another window" in refused.text
    assert "from this window" in refused.text
    assert "from the other window" in client.get(item).text
    client.post(f"{item}/draft", data=form(refused, comment="from this window"))
    assert "from this window" in client.get(item).text


def test_without_scripts_the_page_comes_back_with_what_was_typed(
    client: TestClient, session: Session, alice: User
) -> None:
    make_comparison(session, batch=make_batch(session, edit_policy=EditPolicy.REQUIRED))
    item = start(client)
    page = client.post(f"{item}/submit", data=form(client.get(item), choice="B2", comment="typed with care"))
    assert page.status_code == 422
    assert "requires an improved text" in page.text
    assert "typed with care" in page.text
    assert re.search(r'value="B2"[^>]* checked', page.text)


def test_a_draft_can_be_saved_by_hand_and_fills_the_page(client: TestClient, session: Session, alice: User) -> None:
    make_comparison(session)
    item = start(client)
    sent = form(client.get(item), choice="B3", edited_text="half a sen", comment="so far")
    assert client.post(f"{item}/draft", data=sent).headers["location"] == item
    page = client.get(item).text
    assert re.search(r'value="B3"[^>]* checked', page)
    assert "half a sen" in page
    assert "so far" in page
