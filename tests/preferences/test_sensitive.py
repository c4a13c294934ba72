"""What people said is unsafe or private is counted, and left out of exports that ask for it, whoever said it and where."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import recording, service
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.judgements.vocabulary import Outcome
from app.preferences import sensitive
from app.preferences.exporters import Format, Shape
from app.preferences.forms import ExportFilter
from app.preferences.sensitive import Sensitive
from tests.exporting import exported
from tests.factories import make_assignment, make_comparison, make_user, sign_in

BOTH = ("unsafe", "private_data")


@pytest.fixture
def alice(session: Session) -> User:
    return make_user(session)


def judged(session: Session, user: User, wanted: int = 1, **said: Any) -> int:
    """A judgement of an item of its own, by its id."""
    held = make_assignment(session, user, make_comparison(session, wanted=wanted))
    fields: dict[str, Any] = {"outcome": Outcome.RANKED, "ranking": [["A"], ["B"]], "strengths": [3]} | said
    told = Submission(fencing_token=held.fencing_token, **fields)
    found = recording.submit(session, user, held.id, told, key=secrets.token_hex(8)).id
    session.commit()
    return found


def ids(session: Session, *without: str) -> set[int]:
    wanted = ExportFilter.model_validate({"without": without})
    body, _ = exported(session, Shape.CANONICAL, Format.JSONL, wanted)
    return {json.loads(line)["annotation_id"] for line in body.splitlines()}


def test_what_was_flagged_or_marked_is_left_out(session: Session, alice: User) -> None:
    plain, broken = judged(session, alice), judged(session, alice, flags={"A": ["broken_rendering"]})
    unsafe = judged(session, alice, flags={"B": ["unsafe"]})
    private = judged(session, alice, flags={"A": ["private_data", "broken_rendering"]})
    marked = judged(session, alice, spans=[{"position": "A", "start": 0, "end": 6, "label": "unsafe"}])
    good = judged(session, alice, spans=[{"position": "A", "start": 0, "end": 6, "label": "good"}])
    every = {plain, broken, unsafe, private, marked, good}
    assert ids(session) == every
    assert ids(session, "unsafe") == every - {unsafe, marked}
    assert ids(session, "private_data") == every - {private}
    assert ids(session, *BOTH) == {plain, broken, good}
    assert sensitive.count(session) == Sensitive(unsafe=2, private=1, skipped=0, prompts=3)


def test_one_person_is_enough_whatever_the_others_said(session: Session, alice: User) -> None:
    first = judged(session, alice, wanted=3)
    bob, carol = make_user(session, name="Bob"), make_user(session, name="Carol")
    assert ids(session, *BOTH) == {first}
    held = service.next_assignment(session, bob)
    assert held is not None
    service.skip(session, bob, held.id, "The prompt or a response is offensive or private: a phone number")
    session.commit()
    assert ids(session, *BOTH) == ids(session, "unsafe") == set()
    assert ids(session) == {first}, "who does not ask for it is given all"
    assert sensitive.count(session) == Sensitive(unsafe=0, private=0, skipped=1, prompts=1)
    other = service.next_assignment(session, carol)
    assert other is not None
    service.skip(session, carol, other.id, "I do not know enough about this topic")
    assert sensitive.count(session).skipped == 1


def test_a_flag_that_was_corrected_away_says_nothing(session: Session, alice: User) -> None:
    first = judged(session, alice, flags={"A": ["unsafe"]})
    assert ids(session, "unsafe") == set()
    held = session.get_one(Annotation, first).assignment_id
    told = Submission(fencing_token=1, outcome=Outcome.TIE, corrects=first)
    again = recording.submit(session, alice, held, told, key="again").id
    session.commit()
    assert ids(session, "unsafe") == {again}


def test_page_api_and_snapshot_leave_it_out(client: TestClient, session: Session, alice: User) -> None:
    plain = judged(session, alice)
    judged(session, alice, flags={"A": ["private_data"]})
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    page = client.get("/preferences").text
    assert "people said so" in page
    narrowed = client.get("/preferences?without=private_data&without=unsafe").text
    assert narrowed.count("checked") == 2
    for url in ("/preferences/export", "/api/v1/preferences/export"):
        rows = client.get(f"{url}?without=private_data").text.splitlines()
        assert [json.loads(row)["annotation_id"] for row in rows] == [plain], url
    assert client.get("/api/v1/preferences/export?without=rude").status_code == 422
    refused = client.get("/api/v1/preferences/export?without=unsafe&since=start")
    assert refused.status_code == 422
    assert "flags later" in refused.json()["detail"]
    frozen = client.post("/api/v1/snapshots", json={"filter": {"without": ["private_data"]}})
    assert frozen.json()["filter"]["without"] == ["private_data"]
    assert ExportFilter.model_validate(frozen.json()["filter"]).words().startswith("without private data;")


def test_where_nobody_flagged_anything_nothing_is_offered(client: TestClient, session: Session, alice: User) -> None:
    judged(session, alice)
    sign_in(client, make_user(session, Role.ADMIN, "Bob"))
    assert 'name="without"' not in client.get("/preferences").text
