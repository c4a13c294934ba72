"""Counts of work: equal to a count whatever happens to a judgement, folded or not, and made for what was there before."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from statistics import NormalDist, median

import pytest
from alembic import command
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations import recording
from app.annotations.models import RetractionScope
from app.comparisons.models import Comparison
from app.desk import counting
from app.desk.counting import Work
from app.desk.models import WorkCount
from app.judgements.vocabulary import Outcome
from app.lineage import service as lineage
from app.quality.statistics import ENOUGH
from app.services.migrating import config
from app.upkeep.audit import audit
from tests.annotations.submitting import ranked
from tests.annotations.test_concurrency import at_once
from tests.earlier import before
from tests.factories import make_annotation, make_assignment, make_batch, make_comparison, make_user
from tests.upkeep.auditing import only, spoil

ITEM = Work(1, 12_500, 1)


def today() -> date:
    """Asked in each test: a run of all of them may begin the day before."""
    return datetime.now(UTC).date()


def done(session: Session, user: User) -> Work:
    """What the counts say of ``user``, once it is clear that they are what one would count."""
    miscounted = session.execute(text("SELECT * FROM miscounted_work()")).all()
    assert miscounted == []
    return counting.counts(session, today() - timedelta(1), today(), user.id).people.get(user.id, Work())


def test_a_judgement_counts_once_and_a_correction_in_its_place(session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    assert done(session, alice) == ITEM
    held = make_assignment(session, alice)
    first = recording.submit(session, alice, held.id, ranked(held, active_seconds=10), "one")
    again = recording.submit(session, alice, held.id, ranked(held, active_seconds=10), "one")
    assert again.id == first.id
    assert done(session, alice) == Work(2, 22_500, 2)
    recording.submit(session, alice, held.id, ranked(held, active_seconds=30, corrects=first.id), "two")
    session.commit()
    assert done(session, alice) == Work(2, 42_500, 2)
    batches = counting.by_batch(session)
    assert batches == {
        session.get_one(Comparison, first_of).batch_id: work
        for first_of, work in [(held.comparison_id, Work(1, 30_000, 1)), (said.comparison_id, ITEM)]
    }
    assert list(batches) == sorted(batches, reverse=True)


def test_what_is_taken_back_or_refused_counts_no_more(session: Session, alice: User) -> None:
    held = make_assignment(session, alice)
    recording.submit(session, alice, held.id, ranked(held), "one")
    recording.undo(session, alice, held.id)
    session.commit()
    assert done(session, alice) == Work()
    held = make_assignment(session, alice)
    savepoint = session.begin_nested()
    recording.submit(session, alice, held.id, ranked(held), "two")
    savepoint.rollback()
    assert done(session, alice) == Work()


def test_two_who_disagree_both_count(session: Session, alice: User) -> None:
    rita = make_user(session, Role.REVIEWER, "Rita")
    item = make_comparison(session, wanted=2)
    make_annotation(session, alice, item)
    make_annotation(session, rita, item, outcome=Outcome.TIE)
    assert done(session, alice) == done(session, rita) == ITEM
    assert counting.by_batch(session) == {item.batch_id: ITEM + ITEM}


@pytest.mark.parametrize("folded", [False, True])
def test_a_retraction_takes_out_and_a_restoration_brings_back(
    session: Session, alice: User, bob: User, *, folded: bool
) -> None:
    said = make_annotation(session, alice)
    make_annotation(session, bob)
    if folded:
        assert counting.fold(session) == 2
    batch = session.get_one(Comparison, said.comparison_id).batch_id
    made = lineage.retract(session, bob, RetractionScope.BATCH, batch, "Spoiled.")
    assert done(session, alice) == Work()
    assert done(session, bob) == ITEM
    assert batch not in counting.by_batch(session)
    if folded:
        counting.fold(session)
    lineage.restore(session, bob, made)
    assert done(session, alice) == ITEM
    counting.fold(session)
    assert done(session, alice) == ITEM


def test_of_an_erased_person_nothing_counts(session: Session, alice: User, bob: User) -> None:
    make_annotation(session, alice, edited_text="Better.")
    lineage.retract(session, bob, RetractionScope.PERSON, alice.id, "They asked.", erase=True)
    assert done(session, alice) == Work()
    assert counting.counts(session, today(), today()).people == {}


def test_folding_changes_no_number_and_leaves_a_row_a_key(
    session: Session, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "FOLDED_AT_ONCE", 2)
    batch = make_batch(session)
    for _ in range(3):
        make_annotation(session, alice, make_comparison(session, batch=batch))
    seen = counting.counts(session, today() - timedelta(1), today())
    assert [counting.fold(session) for _ in range(3)] == [2, 1, 0]
    assert counting.counts(session, today() - timedelta(1), today()) == seen
    rows = session.scalars(select(WorkCount)).all()
    assert [(row.items, row.milliseconds, row.folded) for row in rows] == [(3, 37_500, True)]


def test_counts_are_added_up_by_day_person_and_time(session: Session, alice: User, bob: User) -> None:
    spoil(
        session,
        "INSERT INTO work_counts (user_id, batch_id, day, time_class, items, milliseconds)"
        " VALUES (:a, 1, '2026-01-01', 12, 3, 24000), (:a, 2, '2026-01-01', -1, 1, 0), (:b, 1, '2026-01-03', 12, 2, 16000)",
        a=alice.id,
        b=bob.id,
    )
    found = counting.counts(session, date(2026, 1, 1), date(2026, 1, 3))
    assert found.people == {alice.id: Work(4, 24_000, 3), bob.id: Work(2, 16_000, 2)}
    assert [found.of_day(day).items for day in found.days] == [4, 0, 2]
    assert found.times_by_person == {alice.id: {12: 3}, bob.id: {12: 2}}
    assert found.times == {12: 5}
    assert found.of_day(date(2026, 1, 1)).hours == pytest.approx(24 / 3600)
    assert counting.counts(session, date(2026, 1, 2), date(2026, 1, 2)).people == {}
    assert list(counting.counts(session, date(2026, 1, 1), date(2026, 1, 3), bob.id).people) == [bob.id]


@pytest.mark.parametrize(
    "times", [[7.0] * 10, [1, 2, 3, 100] * 3, [0.2, 0.4, 0.9] * 5, [30 + 3 * n for n in range(99)]]
)
def test_the_median_is_near_the_true_one(session: Session, times: list[float]) -> None:
    classes: dict[int, int] = {}
    for each in times:
        found = session.scalars(select(func.time_class(each))).one()
        classes[found] = classes.get(found, 0) + 1
    near = counting.median(classes)
    assert near is not None
    ordered = sorted(max(each, 1) for each in times)
    assert ordered[(len(times) - 1) // 2] / 1.42 <= near <= ordered[len(times) // 2] * 1.42
    assert counting.median({}) is None
    assert counting.median({12: ENOUGH - 1}) is None


def test_of_many_the_median_is_right_to_a_few_percent() -> None:
    times = [math.exp(NormalDist(3.4, 0.6).inv_cdf((n + 0.5) / 500)) for n in range(500)]
    near = counting.median(Counter(math.floor(counting.PER_OCTAVE * math.log2(each)) for each in times))
    assert near == pytest.approx(median(times), rel=0.04)


def test_what_was_not_timed_has_a_class_of_its_own(session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    spoil(session, "UPDATE annotations SET active_seconds = NULL WHERE id = :id", id=said.id)
    assert {row.time_class for row in session.execute(text("SELECT * FROM miscounted_work()"))} == {-1, 7}
    assert session.scalar(text("SELECT time_class('NaN'::float)")) == 32, "no clock stops a submission"


def test_the_audit_finds_what_is_miscounted_and_its_remedy_mends_it(session: Session, alice: User) -> None:
    said = make_annotation(session, alice)
    batch = session.get_one(Comparison, said.comparison_id).batch_id
    spoil(session, "UPDATE work_counts SET items = 3")
    found = only(session, f"batch {batch}", "has -2 items")
    session.execute(text(found.remedy.split("`")[1]))
    assert audit(session) == []
    assert done(session, alice) == ITEM


def test_twenty_who_submit_while_counts_are_folded_are_all_counted(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        batch = make_batch(session)
        users = [make_user(session, name=f"User {n}") for n in range(10)]
        held = [make_assignment(session, user, make_comparison(session, batch=batch)) for user in users]

    def act(session: Session, index: int) -> int:
        if index % 2:
            return counting.fold(session)
        return recording.submit(session, users[index // 2], held[index // 2].id, ranked(held[index // 2]), "k").id

    assert not [each for each in at_once(committed, 20, act) if isinstance(each, Exception)]
    with Session(committed) as session:
        counting.fold(session)
        assert counting.by_batch(session)[batch.id].items == 10
        assert session.execute(text("SELECT * FROM miscounted_work()")).all() == []


MIGRATION = "9a4c6e8b0d57"
OF_BEFORE = (
    "SET session_replication_role = replica",  # judgements alone: what they point at is not counted
    """
    INSERT INTO comparisons (id, batch_id, prompt_id, purpose, annotators_wanted, seats_free)
    VALUES (1, 4, 1, 'collect', 2, 0)
    """,
    *(
        f"""
        INSERT INTO annotations (id, assignment_id, comparison_id, annotator_id, outcome, ranking, strengths, order_shown,
                                 active_seconds, idempotency_key, request_hash, superseded_by_id, withdrawn_at, created_at)
        VALUES ({key}, {key}, 1, 7, 'tie', '[[1, 2]]', '{{}}', '{{1, 2}}', {seconds}, '{key}', '', {by}, {withdrawn}, '{at}')
        """
        for key, seconds, by, withdrawn, at in [
            (1, "8", "2", "NULL", "2026-01-01 10:00Z"),
            (2, "16", "NULL", "NULL", "2026-01-02 23:59Z"),
            (3, "4", "NULL", "now()", "2026-01-02 10:00Z"),
            (4, "NULL", "NULL", "NULL", "2026-01-02 10:00Z"),
        ]
    ),
    "SET session_replication_role = origin",
)
ROWS = "SELECT user_id, batch_id, day::text, time_class, items, milliseconds FROM work_counts ORDER BY time_class"


def test_the_migration_counts_what_was_there_and_goes_back(server_url: str) -> None:
    with before(server_url, MIGRATION) as connection:
        for each in OF_BEFORE:
            connection.execute(text(each))
        connection.commit()
        counted = [(7, 4, "2026-01-02", -1, 1, 0), (7, 4, "2026-01-02", 8, 1, 16_000)]
        for _ in range(2):
            command.upgrade(config(connection), MIGRATION)
            assert [tuple(row) for row in connection.execute(text(ROWS))] == counted
            connection.rollback()
            command.downgrade(config(connection), "-1")
