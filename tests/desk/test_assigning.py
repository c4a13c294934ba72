"""Items assigned for one more judgement: who gets them and who does not, in what order, and that they are taken back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, func, select, text, update
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import AuditEvent, Role, User
from app.annotations import queues
from app.annotations import service as annotating
from app.annotations.models import Annotation, Qualification
from app.annotations.queues import Queue
from app.comparisons import asking, seats
from app.comparisons.claims import mark_read
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.desk import assigning, queries, service, team
from app.desk.queries import Wanted
from app.desk.service import Pick
from app.kernel.errors import BadInput
from app.prompts.models import Batch, BatchPerson, BatchState, BatchTeam
from app.quality import service as quality
from app.upkeep.audit import audit
from tests.desk.test_desk_service import corrected, pick, retracted, reviewed
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_comparison,
    make_labelling,
    make_labels,
    make_user,
    make_writing,
)


@pytest.fixture
def bea(session: Session) -> User:
    return make_user(session, name="Bea")


def item_of(session: Session, said: Annotation) -> Comparison:
    return session.get_one(Comparison, said.comparison_id, populate_existing=True)


def seats_of(session: Session, said: Annotation) -> tuple[int, int, int]:
    item = item_of(session, said)
    return item.annotators_wanted, item.annotators_done, item.seats_free


def batch_of(session: Session, said: Annotation) -> Batch:
    return session.get_one(Batch, item_of(session, said).batch_id)


def assign(session: Session, staff: User, picks: list[Pick], *people: User) -> service.Done:
    done = assigning.assign(session, staff, picks, [each.id for each in people])
    session.commit()
    return done


def kept(session: Session) -> None:
    """All promises are."""
    assert [str(each) for each in audit(session)] == []


def test_items_go_to_the_person_before_anything_else_and_to_nobody_else(
    session: Session, rita: User, alice: User, bea: User
) -> None:
    batch = make_batch(session)
    said = [make_annotation(session, alice, make_comparison(session, batch=batch)) for _ in range(3)]
    fresh = make_comparison(session, batch=batch)
    done = assign(session, rita, pick(*said), bea)
    assert (done.done, done.left) == ([each.id for each in said], {})
    assert done.said() == f"Assigned the items of 3 annotations to {bea.pseudonym}."
    assert [seats_of(session, each) for each in said] == [(2, 1, 0)] * 3
    kept(session)
    other = make_user(session, name="Carl")
    assert make_assignment(session, other, fresh).comparison_id == fresh.id
    assert annotating.next_assignment(session, make_user(session, name="Dora")) is None
    mine = [make_annotation(session, bea, item_of(session, said[0])) for _ in range(3)]
    assert {each.comparison_id for each in mine} == {each.comparison_id for each in said}
    assert [seats_of(session, each) for each in said] == [(2, 2, 0)] * 3
    log = session.scalars(select(AuditEvent).where(AuditEvent.action == "annotation.assigned").order_by(AuditEvent.id))
    assert [(each.subject_id, each.details["user"]) for each in log] == [(each.id, bea.id) for each in said]
    kept(session)


def test_a_free_seat_is_taken_before_one_more_is_asked_for(
    session: Session, rita: User, alice: User, bea: User
) -> None:
    said = make_annotation(session, alice, make_comparison(session, wanted=2))
    assign(session, rita, pick(said), bea)
    assert seats_of(session, said) == (2, 1, 0)
    assert assigning.unassign(session, rita, pick(said)).said() == "Took back the item of 1 annotation."
    assert seats_of(session, said) == (2, 1, 1), "the batch still asks two people"
    kept(session)


def test_what_is_not_begun_is_taken_back_and_can_be_assigned_anew(
    session: Session, rita: User, alice: User, bea: User
) -> None:
    said = [make_annotation(session, alice) for _ in range(2)]
    assign(session, rita, pick(*said), bea)
    assert {row.id: row.assigned for row in queries.desk_page(session, rita, Wanted()).rows} == {
        each.id: True for each in said
    }
    opened = make_assignment(session, bea, item_of(session, said[0]))
    assert opened.lease_until < session.scalars(select(func.now())).one() + timedelta(hours=1)
    done = assigning.unassign(session, rita, pick(*said))
    session.commit()
    assert (done.done, done.left) == ([said[1].id], {said[0].id: assigning.NOT_WAITING})
    assert [seats_of(session, each) for each in said] == [(2, 1, 0), (1, 1, 0)]
    assert not any(row.assigned for row in queries.desk_page(session, rita, Wanted()).rows)
    kept(session)
    assert assign(session, rita, pick(said[1]), bea).done == [said[1].id]
    again = session.scalars(select(Assignment).where(Assignment.comparison_id == said[1].comparison_id)).all()
    assert sorted((each.state, each.fencing_token) for each in again) == [
        (AssignmentState.ACTIVE, 2),
        (AssignmentState.SUBMITTED, 1),
    ]
    kept(session)


def test_twice_asks_nobody_twice(session: Session, rita: User, bob: User, alice: User, bea: User) -> None:
    said = make_annotation(session, alice)
    group = teams.create(session, bob, "Second", [bea.id, make_user(session, name="Carl").id])
    session.commit()
    for left in ({}, {said.id: assigning.HAS}):
        assert assigning.assign(session, rita, pick(said), [], [group.id]).left == left
    assert seats_of(session, said) == (2, 1, 0)


def test_two_annotations_of_an_item_ask_once(session: Session, rita: User, alice: User, bea: User) -> None:
    item = make_comparison(session, wanted=2)
    said = [make_annotation(session, each, item) for each in (alice, make_user(session, name="Carl"))]
    assert assign(session, rita, pick(*said), bea).done == [each.id for each in said]
    assert seats_of(session, said[0]) == (3, 2, 0)


def test_a_team_shares_the_items_out_and_nobody_judges_their_own(
    session: Session, rita: User, bob: User, alice: User, bea: User
) -> None:
    carl = make_user(session, name="Carl")
    group = teams.create(session, bob, "Second", [each.id for each in (alice, bea, carl, bob)])
    batch = make_batch(session)
    batch.quota = 12
    said = [make_annotation(session, alice, make_comparison(session, batch=batch)) for _ in range(9)]
    session.add(BatchPerson(batch_id=batch.id, user_id=bob.id, barred=True))
    session.commit()
    done = assigning.assign(session, rita, pick(*said), [], [group.id])
    session.commit()
    assert len(done.done) == 9
    given = session.scalars(select(Assignment.annotator_id).where(Assignment.state == AssignmentState.ACTIVE))
    assert sorted(Counter(given).values()) == [4, 5]
    assert set(session.scalars(select(Assignment.annotator_id))) == {alice.id, bea.id, carl.id}
    kept(session)


def test_a_quota_ends_what_is_dealt(session: Session, rita: User, alice: User, bea: User) -> None:
    batch = make_batch(session)
    said = [make_annotation(session, alice, make_comparison(session, batch=batch)) for _ in range(4)]
    batch.quota = 3
    session.commit()
    done = assign(session, rita, pick(*said), bea)
    assert (len(done.done), done.left) == (3, {said[3].id: assigning.QUOTA})


def seat(session: Session, said: Annotation) -> Comparison:
    """Its item, with a free seat."""
    seats_now = {"annotators_wanted": 2, "seats_free": 1}
    session.execute(update(Comparison).where(Comparison.id == said.comparison_id).values(seats_now))
    return item_of(session, said)


def judged(session: Session, said: Annotation, who: User) -> None:
    make_annotation(session, who, seat(session, said))


def skipped(session: Session, said: Annotation, who: User) -> None:
    annotating.skip(session, who, make_assignment(session, who, seat(session, said)).id, "No idea.")


def has_read(session: Session, said: Annotation, who: User) -> None:
    mark_read(session, who.id, [item_of(session, said).prompt_id])


def barred(session: Session, said: Annotation, who: User) -> None:
    session.add(BatchPerson(batch_id=batch_of(session, said).id, user_id=who.id, barred=True))


def of_others(session: Session, said: Annotation, _: User) -> None:
    batch = batch_of(session, said)
    batch.assigned_only = True
    other = teams.create(session, make_user(session, Role.ADMIN, "Ben"), "Others", [said.annotator_id])
    session.add(BatchTeam(batch_id=batch.id, team_id=other.id))


def other_language(session: Session, said: Annotation, who: User) -> None:
    who.languages = ["fr"]
    item_of(session, said).language = "de"


def no_tour(session: Session, said: Annotation, _: User) -> None:
    batch_of(session, said).requires_tour = True


def unqualified(session: Session, said: Annotation, who: User) -> None:
    batch = batch_of(session, said)
    batch.qualification_items = 2
    session.add(Qualification(batch_id=batch.id, user_id=who.id, answered=2, correct=0, passed=False))


def knows(session: Session, said: Annotation, who: User) -> None:
    known = quality.make_gold(session, make_user(session, Role.ADMIN, "Ben"), said, "Plain.")
    session.commit()
    batch_of(session, said).gold_percent = 50
    for _ in range(200):
        asked = make_assignment(session, who, make_comparison(session, batch=batch_of(session, said)))
        if asked.comparison_id == known.id:
            return
        make_annotation(session, who, session.get_one(Comparison, asked.comparison_id))
    pytest.fail("no known answer was asked")


def closed(session: Session, said: Annotation, _: User) -> None:
    batch_of(session, said).state = BatchState.CLOSED


def settled(session: Session, said: Annotation, _: User) -> None:
    service.adjudicate(session, make_user(session, Role.ADMIN, "Ben"), said, "It is right.")


def full(session: Session, said: Annotation, _: User) -> None:
    session.execute(
        update(Comparison).where(Comparison.id == said.comparison_id).values(annotators_wanted=20, seats_free=0)
    )


@pytest.mark.parametrize(
    ("so", "why"),
    [
        (judged, assigning.MET[AssignmentState.SUBMITTED]),
        (skipped, assigning.MET[AssignmentState.SKIPPED]),
        (has_read, "they have read a judgement of it"),
        (barred, assigning.BARRED),
        (of_others, assigning.NOT_ASSIGNED),
        (other_language, "they do not read its language"),
        (no_tour, assigning.TOUR),
        (unqualified, assigning.QUALIFICATION),
        (knows, "they know its responses from a known answer"),
        (closed, assigning.NOT_OPEN),
        (settled, assigning.SETTLED),
        (full, assigning.ENOUGH),
    ],
)
def test_whoever_may_not_be_given_an_item_is_named_with_the_reason(
    session: Session,
    rita: User,
    alice: User,
    bea: User,
    so: Callable[[Session, Annotation, User], None],
    why: str,
) -> None:
    good, said = make_annotation(session, alice), make_annotation(session, alice)
    so(session, said, bea)
    session.commit()
    done = assign(session, rita, pick(good, said), bea)
    assert (done.done, done.left) == ([good.id], {said.id: why})
    assert f"{said.id} ({why})" in done.said()


@pytest.mark.parametrize(("meanwhile", "why"), [(corrected, service.CHANGED), (reviewed, service.REVIEWED)])
def test_what_changed_meanwhile_is_left(
    session: Session,
    rita: User,
    alice: User,
    bea: User,
    meanwhile: Callable[[Session, Annotation, User], None],
    why: str,
) -> None:
    good, said = make_annotation(session, alice), make_annotation(session, alice)
    meanwhile(session, said, make_user(session, Role.ADMIN, "Ben"))
    done = assign(session, rita, [*pick(good, said), Pick(2**40, 0)], bea)
    assert (done.done, done.left) == ([good.id], {said.id: why, 2**40: service.GONE})


def test_what_was_retracted_is_asked_of_another(
    session: Session, rita: User, bob: User, alice: User, bea: User
) -> None:
    said = make_annotation(session, alice)
    retracted(session, said, bob)
    assert assign(session, rita, pick(said), bea).done == [said.id]


def test_labels_of_steps_are_asked_for_again_and_what_is_judged_once_is_not(
    session: Session, rita: User, alice: User, bea: User
) -> None:
    (proof,) = make_labelling(session, "2 + 2 = 4\n\n4 + 1 = 5")
    (essay,) = make_writing(session, "What is 6 · 7?")
    labels = make_labels(session, alice, proof, 1, 1)
    written = make_annotation(session, alice, essay, edited_text="42")
    done = assign(session, rita, pick(labels, written), bea)
    assert (done.done, done.left) == ([labels.id], {written.id: assigning.KIND})


def test_people_who_differ_in_why_are_none_of_them(session: Session, rita: User, alice: User, bea: User) -> None:
    said = make_annotation(session, alice)
    barred(session, said, bea)
    session.commit()
    assert assign(session, rita, pick(said), alice, bea).left == {said.id: assigning.SEVERAL}


def test_what_somebody_works_on_is_left_and_waited_for_by_nobody(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session, Session(committed) as busy:
        rita, bea = make_user(session, Role.REVIEWER, "Rita"), make_user(session, name="Bea")
        said = make_annotation(session, make_user(session))
        busy.execute(select(Comparison.id).where(Comparison.id == said.comparison_id).with_for_update())
        session.execute(text("SET LOCAL lock_timeout = '2s'"))
        assert assign(session, rita, pick(said), bea).left == {said.id: assigning.BUSY}
        busy.rollback()
        assert assign(session, rita, pick(said), bea).done == [said.id]
        busy.execute(select(Comparison.id).where(Comparison.id == said.comparison_id).with_for_update())
        assert assigning.unassign(session, rita, pick(said)).left == {said.id: assigning.BUSY}
        busy.rollback()


def test_nobody_to_ask_is_refused(session: Session, rita: User, bob: User, alice: User) -> None:
    said = make_annotation(session, alice)
    empty = teams.create(session, bob, "Empty")
    gone = make_user(session, name="Gone")
    gone.disabled_at = func.now()
    session.commit()
    for people, groups in (([], []), ([gone.id], []), ([2**40], []), ([], [empty.id]), ([], [2**40])):
        with pytest.raises(BadInput):
            assigning.assign(session, rita, pick(said), people, groups)
    with pytest.raises(BadInput):
        assigning.assign(session, rita, [], [alice.id])


def test_what_nobody_opens_for_a_week_is_free_to_all(session: Session, rita: User, alice: User, bea: User) -> None:
    said = make_annotation(session, alice)
    assign(session, rita, pick(said), bea)
    left = session.scalars(select(Assignment.lease_until).where(Assignment.annotator_id == bea.id)).one()
    assert left > session.scalars(select(func.now())).one() + asking.HELD
    session.execute(update(Assignment).values(lease_until=func.now() - timedelta(seconds=1)))
    assert seats.sweep(session) == 1
    assert seats_of(session, said) == (2, 1, 1)
    kept(session)


def test_many_cost_no_more_statements_than_few(session: Session, rita: User, alice: User, bea: User) -> None:
    few, many = ([make_annotation(session, alice) for _ in range(number)] for number in (2, 12))
    batch = batch_of(session, few[0])
    session.execute(update(Comparison).values(batch_id=batch.id))
    session.commit()
    counted: list[int] = []

    def count(*_: object) -> None:
        counted[-1] += 1

    event.listen(session.get_bind(), "before_cursor_execute", count)
    for picks in (pick(*few), pick(*many)):
        counted.append(0)
        assign(session, rita, picks, bea)
        assert assigning.unassign(session, rita, picks).left == {}
        session.commit()
    event.remove(session.get_bind(), "before_cursor_execute", count)
    assert counted[0] == counted[1]


def test_whoever_was_asked_finds_it_among_pending_work_and_does_not_work_now(
    session: Session, rita: User, alice: User, bea: User
) -> None:
    said = make_annotation(session, alice)
    assign(session, rita, pick(said), bea)
    assert len(queues.queue_page(session, bea, Queue.PENDING).rows) == 1
    assert bea.id not in {each.who.id for each in team.team(session, rita, 30).at_work}
    make_assignment(session, bea, item_of(session, said))
    at_work = {each.who.id: each.open_items for each in team.team(session, rita, 30).at_work}
    assert at_work[bea.id] == 1
