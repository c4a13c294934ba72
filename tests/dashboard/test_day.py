"""The working day on the start page: returned first, then what is begun; done today against one's own goal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.annotations import day, recording, service
from app.annotations.models import Decision, Review
from app.prompts import guidelines
from app.prompts.models import Batch
from app.shell.zones import zone_named
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user, sign_in


def test_done_today_counts_items_once_and_not_what_was_taken_back(session: Session) -> None:
    alice, batch = make_user(session), make_batch(session)
    first = make_annotation(session, alice, make_comparison(session, batch=batch))
    assert (day.today(session, alice).done, day.today(session, alice).active_seconds) == (1, 12.5)
    recording.undo(session, alice, first.assignment_id)
    session.commit()
    assert day.today(session, alice) == day.Day(0, 0, 0)


def test_what_was_done_yesterday_is_not_today(session: Session) -> None:
    alice = make_user(session)
    make_annotation(session, alice)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    session.execute(text("ALTER TABLE annotations DISABLE TRIGGER USER"))  # which keeps annotations as they are
    session.execute(text("UPDATE annotations SET created_at = created_at - interval '1 day'"))
    assert day.today(session, alice).done == 0


def test_alice_sets_a_goal_and_sees_how_far_she_is(client: TestClient, session: Session) -> None:
    alice = make_user(session)
    make_annotation(session, alice)
    sign_in(client, alice)
    assert "your goal" not in client.get("/").text
    assert client.post("/goal", data={"goal": "20"}).headers["location"] == "/"
    assert "1 of 20" in client.get("/").text
    assert client.post("/goal", data={"goal": "1", "back": "profile"}).headers["location"] == "/profile"
    assert "1 of 1, reached" in client.get("/").text
    assert [client.post("/goal", data={"goal": bad}).status_code for bad in ("-1", "1001", "x")] == [422] * 3
    client.post("/goal", data={"goal": "0"})
    assert "your goal" not in client.get("/").text


@pytest.mark.parametrize("stored", [None, "7", True, -3, 10**9, {}])
def test_a_goal_that_makes_no_sense_is_none(stored: object) -> None:
    assert day.goal_of({"daily_goal": stored}) == 0


def test_returned_items_come_before_what_is_begun(client: TestClient, session: Session) -> None:
    alice, batch = make_user(session), make_batch(session)
    annotation = make_annotation(session, alice, make_comparison(session, batch=batch))
    held = make_assignment(session, alice, make_comparison(session, batch=batch))
    rita = make_user(session, Role.REVIEWER, "Rita")
    session.add(
        Review(annotation_id=annotation.id, reviewer_id=rita.id, verdict=Decision.RETURNED, note="Read A again.")
    )
    session.commit()
    page = sign_in(client, alice).get("/").text
    assert "Read A again." in page
    returned, begun = (
        page.index(f"/assignments/{annotation.assignment_id}?correct=1"),
        page.index(f"/assignments/{held.id}"),
    )
    assert returned < begun
    other = sign_in(client, make_user(session, name="Charlie")).get("/").text
    assert "Read A again." not in other


def test_changed_guidelines_are_announced_until_they_are_read(client: TestClient, session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    held = make_assignment(session, alice, comparison)
    batch = session.get_one(Batch, comparison.batch_id)
    guidelines.rewrite(session, make_user(session, Role.ADMIN, "Bob"), batch, "Others.")
    session.commit()
    sign_in(client, alice)
    assert f"/batches/{batch.id}/guidelines?since=1" in client.get("/").text
    service.release(session, alice, held.id)
    session.commit()
    assert f"/batches/{batch.id}/guidelines?since=1" in client.get("/annotate").text
    assert client.post(f"/batches/{batch.id}/guidelines/read", data={"back": "home"}).headers["location"] == "/"
    assert "?since=1" not in client.get("/").text


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 min"), (12, "under a minute"), (600, "10 min"), (7500, "2 h 5 min")]
)
def test_time_is_said_in_words(seconds: float, words: str) -> None:
    assert day.Day(1, seconds, 0).active_text == words


@pytest.mark.parametrize(("hour", "said"), [(0, "Nothing done yet today"), (12, "1 item done today")])
def test_today_begins_at_midnight_where_alice_is(client: TestClient, session: Session, hour: int, said: str) -> None:
    alice = make_user(session)
    make_annotation(session, alice)
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    session.execute(text("ALTER TABLE annotations DISABLE TRIGGER USER"))  # which keeps annotations as they are
    session.execute(text("UPDATE annotations SET created_at = created_at - interval '2 hours'"))
    session.execute(text("ALTER TABLE annotations ENABLE TRIGGER USER"))
    session.commit()
    east = (hour - datetime.now(UTC).hour + 12) % 24 - 12  # where it is ``hour`` now; POSIX names count to the west
    sign_in(client, alice).cookies.set("zone", f"Etc/GMT{-east:+d}")
    assert said in client.get("/").text


@pytest.mark.parametrize("name", ["", "Mars/Phobos", "../../etc/passwd", "/etc/passwd", "Asia", "a" * 5000, "\0"])
def test_a_time_zone_that_is_none_leaves_the_servers_day(name: str) -> None:
    assert zone_named(name) is None
