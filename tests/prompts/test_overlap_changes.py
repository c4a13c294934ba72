"""Bob renames a batch and changes how many people judge each of its prompts, while they do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role, User
from app.annotations import recording, service
from app.annotations.models import Annotation
from app.batches import overlap, settings
from app.comparisons.drawing import asked_twice
from app.comparisons.models import Comparison
from app.kernel.errors import Conflict, LeaseLost
from app.prompts.forms import BatchChange
from app.prompts.models import Batch, BatchKind, BatchState
from app.upkeep.audit import audit
from tests.annotations.test_concurrency import tie
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_user,
    make_writing,
    sign_in,
)
from tests.patience import PATIENCE, eventually

Seats = tuple[int, int, int]
"""Wanted, done and free."""


def change(session: Session, bob: User, batch_id: int, number: int) -> None:
    settings.change(session, bob, session.get_one(Batch, batch_id), BatchChange(annotators_per_prompt=number))
    session.commit()


def seats(session: Session, *items: Comparison) -> list[Seats]:
    session.expire_all()
    return [(item.annotators_wanted, item.annotators_done, item.seats_free) for item in items]


def several(session: Session, wanted: int = 1) -> tuple[Batch, list[Comparison]]:
    batch = make_batch(session, annotators_per_prompt=wanted)
    return batch, [make_comparison(session, batch=batch, wanted=wanted) for _ in range(3)]


def test_more_annotators_are_asked_of_every_prompt_and_a_done_one_is_given_out_again(
    session: Session, bob: User
) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch, (done, held, free) = several(session)
    make_annotation(session, alice, done)
    make_assignment(session, alice, held)
    change(session, bob, batch.id, 3)
    assert seats(session, done, held, free) == [(3, 1, 2), (3, 0, 2), (3, 0, 3)]
    assert batch.times_extended == 1
    assert make_assignment(session, rita, done).comparison_id == done.id
    assert not audit(session, files=False)


def test_fewer_annotators_close_what_has_enough_and_take_nobody_out(session: Session, bob: User) -> None:
    people = [make_user(session, name=f"Alice{number}") for number in range(3)]
    batch, (done, held, free) = several(session, wanted=3)
    for person in people[:2]:
        make_annotation(session, person, done)
    for person in people[:2]:
        make_assignment(session, person, held)
    change(session, bob, batch.id, 1)
    assert seats(session, done, held, free) == [(2, 2, 0), (2, 0, 0), (1, 0, 1)]
    assert batch.times_extended == 0, "there is no more to do than before"
    change(session, bob, batch.id, 2)
    assert seats(session, free) == [(2, 0, 2)]
    assert not audit(session, files=False)


def test_a_prompt_whose_lot_it_is_keeps_its_second_annotator(session: Session, bob: User) -> None:
    make_user(session), make_user(session, name="Rita")
    batch = make_batch(session, annotators_per_prompt=2)
    batch.overlap_percent = 40
    items = [make_comparison(session, batch=batch) for _ in range(12)]
    change(session, bob, batch.id, 1)
    lots = [2 if asked_twice(item.prompt_id, 40) else 1 for item in items]
    assert [wanted for wanted, _, _ in seats(session, *items)] == lots
    assert set(lots) == {1, 2}


def test_it_holds_where_people_write_and_for_what_is_made_later(session: Session, bob: User) -> None:
    (item,) = make_writing(session, "One?")
    change(session, bob, item.batch_id, 2)
    assert seats(session, item) == [(2, 0, 2)]
    batch, _ = several(session)
    change(session, bob, batch.id, 2)
    assert make_comparison(session, batch=batch, texts=["a", "b"]).annotators_wanted == 2


def test_a_batch_is_renamed_on_its_page_and_by_a_program(client: TestClient, session: Session, bob: User) -> None:
    other, batch = make_batch(session, name="Taken"), make_batch(session, name="Before")
    url = f"/batches/{batch.id}"
    assert client.post(f"{url}/settings", data={"name": "After 你好", "annotators_per_prompt": "2"}).status_code == 303
    shown = client.get(url).text
    assert "<h1>After 你好" in shown
    assert 'name="annotators_per_prompt" type="number" value="2"' in shown
    taken = client.post(f"{url}/settings", data={"name": "Taken"})
    assert taken.status_code == 422
    assert "A batch with this name already exists" in taken.text
    assert client.patch(f"/api/v1{url}", json={"name": other.name}).status_code == 422
    renamed = client.patch(f"/api/v1{url}", json={"name": "Then", "annotators_per_prompt": 3}).json()
    assert (renamed["name"], renamed["annotators_per_prompt"]) == ("Then", 3)
    assert client.patch(f"/api/v1{url}", json={"name": "Then", "annotators_per_prompt": 21}).status_code == 422
    events = session.scalars(select(AuditEvent).where(AuditEvent.action == "batch.settings").order_by(AuditEvent.id))
    assert [event.details["before"] for event in events] == [
        {"name": "Before", "annotators_per_prompt": 1},
        {"name": "After 你好", "annotators_per_prompt": 2},
    ]


def test_a_closed_batch_and_dialogues_keep_their_number_and_may_be_renamed(
    client: TestClient, session: Session, bob: User
) -> None:
    for number, (state, kind) in enumerate(
        [(BatchState.CLOSED, BatchKind.PROMPTS), (BatchState.OPEN, BatchKind.DIALOGUE)]
    ):
        batch = make_batch(session, state=state)
        batch.kind = kind
        session.commit()
        url = f"/api/v1/batches/{batch.id}"
        assert client.patch(url, json={"annotators_per_prompt": 2}).status_code == 409
        assert client.post(f"/batches/{batch.id}/settings", data={"annotators_per_prompt": "2"}).status_code == 422
        assert client.patch(url, json={"name": f"New {number}", "annotators_per_prompt": 1}).status_code == 200
        assert f'value="New {number}"' in client.get(f"/batches/{batch.id}").text


def test_only_admins_change_them(client: TestClient, session: Session) -> None:
    batch = make_batch(session)
    for role in (Role.REVIEWER, Role.ANNOTATOR):
        sign_in(client, make_user(session, role, "Charlie"))
        assert client.patch(f"/api/v1/batches/{batch.id}", json={"name": "Mine"}).status_code == 403
        assert client.post(f"/batches/{batch.id}/settings", data={"name": "Mine"}).status_code == 403


# ── Races ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def blocked(engine: Engine) -> bool:
    """Whether a transaction waits for a lock of another."""
    with engine.connect() as connection:
        waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
        return bool(connection.exec_driver_sql(waiting).scalar())


def in_one(session: Session, act: Callable[[Session], None]) -> None:
    act(session)
    session.commit()


@pytest.mark.parametrize("submit_first", [True, False])
def test_fewer_annotators_while_a_submit_is_in_flight(
    committed: Engine, monkeypatch: pytest.MonkeyPatch, *, submit_first: bool
) -> None:
    monkeypatch.setattr(overlap, "PATIENCE", "30s")
    with Session(committed, expire_on_commit=False) as session:
        bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
        item = make_comparison(session, wanted=3)
        held = make_assignment(session, alice, item)

    def submit(session: Session) -> None:
        recording.submit(session, alice, held.id, tie(held), "key")

    def reduce(session: Session) -> None:
        wanted = BatchChange(annotators_per_prompt=1)
        settings.change(session, bob, session.get_one(Batch, item.batch_id), wanted)

    first, second = (submit, reduce) if submit_first else (reduce, submit)
    with Session(committed) as one, Session(committed) as other, ThreadPoolExecutor(1) as pool:
        first(one)
        waits = pool.submit(in_one, other, second)
        eventually(lambda: blocked(committed), PATIENCE, "the second to wait for the first")
        one.commit()
        waits.result(30)
    with Session(committed) as session:
        assert seats(session, session.get_one(Comparison, item.id)) == [(1, 1, 0)]
        assert not audit(session, files=False)


def test_a_text_whose_time_ran_out_is_kept_when_its_seat_goes(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob, alice, rita = make_user(session, Role.ADMIN, "Bob"), make_user(session), make_user(session, name="Rita")
        item = make_comparison(session, wanted=2)
        late = make_assignment(session, alice, item)
        make_annotation(session, rita, item)
        service.release(session, alice, late.id)
        change(session, bob, item.batch_id, 1)
        with pytest.raises(LeaseLost, match="Your text is kept as a draft"):
            recording.submit(session, alice, late.id, tie(late), "key")
        session.rollback()
        assert seats(session, session.get_one(Comparison, item.id)) == [(1, 1, 0)]


def test_a_change_gives_way_to_whoever_holds_a_row_and_says_so_in_the_end(
    committed: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "PATIENCE", "10ms")
    monkeypatch.setattr(overlap, "TRIES", 2)
    with Session(committed, expire_on_commit=False) as session:
        bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
        item = make_comparison(session, wanted=1)
        held = make_assignment(session, alice, item)
    with Session(committed) as one, Session(committed) as other:
        recording.submit(one, alice, held.id, tie(held), "key")
        with pytest.raises(Conflict, match="Nothing was changed: try again"):
            settings.change(other, bob, other.get_one(Batch, item.batch_id), BatchChange(annotators_per_prompt=2))
        other.rollback()
        one.commit()
        change(other, bob, item.batch_id, 2)
        assert seats(other, other.get_one(Comparison, item.id)) == [(2, 1, 1)]


def test_people_work_while_the_number_goes_up_and_down(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        people = [make_user(session, name=f"Alice{number}") for number in range(4)]
        batch = make_batch(session, annotators_per_prompt=2)
        for _ in range(6):
            make_comparison(session, batch=batch, wanted=2)
    stop = threading.Event()

    def work(user: User) -> int:
        done = 0
        while True:
            with Session(committed, expire_on_commit=False) as session:
                last = stop.is_set()
                held = service.next_assignment(session, user)
                session.commit()
                if held is None and last:
                    return done
                if held is not None:
                    recording.submit(session, user, held.id, tie(held), f"{user.id}-{held.id}")
                    session.commit()
                    done += 1

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, person) for person in people]
        for number in (1, 3, 1, 4, 2):
            with Session(committed, expire_on_commit=False) as session:
                change(session, bob, batch.id, number)
        stop.set()
        done = sum(each.result(60) for each in working)
    with Session(committed) as session:
        assert len(session.scalars(select(Annotation.id)).all()) == done >= 12
        assert {free for _, _, free in seats(session, *session.scalars(select(Comparison)))} == {0}
        assert not audit(session, files=False)
