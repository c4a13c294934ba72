"""Guidelines by version: what changed is kept, announced once, and shown; who may not read them learns nothing."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.kernel.word_diff import COMPARED, word_diff
from app.prompts import guidelines
from app.prompts.models import Batch, BatchState, GuidelineVersion
from tests.factories import make_assignment, make_batch, make_comparison, make_user, sign_in
from tests.prompts.pages import jsonl, upload


def test_every_change_is_a_version_and_the_same_text_is_none(session: Session, bob: User) -> None:
    batch = make_batch(session, guidelines="Old.")
    assert guidelines.rewrite(session, bob, batch, "New.")
    assert not guidelines.rewrite(session, bob, batch, "New.")
    assert guidelines.rewrite(session, bob, batch, "New.", {"4": "Right against wrong."})
    kept = session.scalars(select(GuidelineVersion).order_by(GuidelineVersion.version)).all()
    assert [(each.version, each.guidelines, each.strength_examples) for each in kept] == [
        (1, "Old.", {}),
        (2, "New.", {}),
        (3, "New.", {"4": "Right against wrong."}),
    ]


def test_a_change_is_announced_to_who_has_begun_and_not_to_newcomers(
    client: TestClient, session: Session, bob: User
) -> None:
    alice, comparison = make_user(session), make_comparison(session, wanted=2)
    batch = session.get_one(Batch, comparison.batch_id)
    make_assignment(session, alice, comparison)
    assert guidelines.changed(session, alice, batch.id) is None
    guidelines.rewrite(session, bob, batch, "Prefer what is true.")
    newcomer = make_user(session, name="Charlie")
    make_assignment(session, newcomer, comparison)
    session.commit()
    assert guidelines.changed(session, newcomer, batch.id) is None
    assert guidelines.changed(session, alice, batch.id) == (1, 2)
    assert [each[0] for each in guidelines.changed_batches(session, alice)] == [batch.id]

    page = sign_in(client, alice).get(f"/batches/{batch.id}/guidelines")
    assert "Changed since you read them" in page.text
    assert "<del> *true*" in page.text
    said = client.get(f"/api/v1/batches/{batch.id}/guidelines").json()
    assert (said["version"], said["changed_since"], said["guidelines"]) == (2, 1, "Prefer what is true.")
    assert guidelines.changed(session, alice, batch.id) == (1, 2), "a GET notes nothing"
    assert client.post(f"/batches/{batch.id}/guidelines/read").status_code == 303
    assert guidelines.changed(session, alice, batch.id) is None
    assert "Changed since you read them" not in client.get(f"/batches/{batch.id}/guidelines").text


@pytest.mark.parametrize("state", list(BatchState))
@pytest.mark.parametrize("worked", [False, True])
def test_annotators_read_the_guidelines_of_open_batches_and_of_their_own(
    client: TestClient, session: Session, state: BatchState, *, worked: bool
) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    if worked:
        make_assignment(session, alice, comparison)
    batch = session.get_one(Batch, comparison.batch_id)
    batch.state = state
    session.commit()
    allowed = state is BatchState.OPEN or (worked and state is not BatchState.PREPARING)
    url = f"/batches/{batch.id}/guidelines"
    assert sign_in(client, alice).get(url).status_code == (200 if allowed else 404)
    assert client.post(f"{url}/read").status_code == (303 if allowed else 404)
    assert client.get(f"/api/v1{url}").status_code == (200 if allowed else 404)
    assert client.post(f"/api/v1{url}/read").status_code == (204 if allowed else 404)
    sign_in(client, make_user(session, Role.REVIEWER, "Rita"))
    assert client.get(url).status_code == 200


def test_an_imported_batch_has_its_first_version(client: TestClient, session: Session, bob: User) -> None:
    url = upload(client, jsonl({"prompt": "Why?"}))
    made = client.post(f"{url}/confirm", data={"name": "Questions", "guidelines": "Be kind."})
    assert made.status_code == 303
    assert [(each.version, each.guidelines) for each in session.scalars(select(GuidelineVersion))] == [(1, "Be kind.")]


def test_a_version_that_is_not_there_is_not_found(client: TestClient, session: Session, bob: User) -> None:
    batch = make_batch(session)
    for query in ("since=1&until=9", "since=9", "since=2&until=1"):
        assert client.get(f"/batches/{batch.id}/guidelines?{query}").status_code == 404


def test_words_are_compared_and_nothing_in_them_is_markup() -> None:
    assert (
        word_diff("one two\nthree", "one <b>2</b>\nthree")
        == "one<del> two</del><ins> &lt;b&gt;2&lt;/b&gt;</ins>\nthree"
    )
    assert word_diff("", "") == ""
    assert word_diff("", "new") == "<ins>new</ins>"


def test_texts_too_long_to_compare_are_shown_as_a_whole() -> None:
    many = int(COMPARED**0.5) + 2
    shown = word_diff("a " * many, "b " * many)
    assert shown.count("<del>") == shown.count("<ins>") == 1
