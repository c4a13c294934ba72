"""Who is given what: teams, people, who may not judge, quotas, priority, readers; at once, and while it is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts import teams
from app.accounts.models import Role, User
from app.annotations import queries, recording, service
from app.annotations.forms import Submission
from app.batches import settings
from app.batches.queries import access_guidelines
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.service import seats_of
from app.judgements.vocabulary import Outcome
from app.kernel.errors import BadInput, Conflict, NotFound
from app.prompts.forms import BatchChange
from app.prompts.models import Batch, Priority
from tests.annotations.test_concurrency import at_once, tie
from tests.factories import make_batch, make_comparison, make_prompt, make_user


@pytest.fixture
def bob(session: Session) -> User:
    return make_user(session, Role.ADMIN, "Bob")


def change(session: Session, bob: User, batch: Batch, **wanted: object) -> None:
    settings.change(session, bob, batch, BatchChange.model_validate(wanted))
    session.commit()


def filled(session: Session, items: int, name: str | None = None, wanted: int = 1) -> Batch:
    batch = make_batch(session, name=name, annotators_per_prompt=wanted)
    for _ in range(items):
        make_comparison(session, wanted=wanted, batch=batch, prompt=make_prompt(session, batch))
    return batch


def taken(session: Session, user: User, most: int = 50, batch: Batch | None = None) -> list[int]:
    """The batches of the items that ``user`` is given one after the other, which they judge."""
    found: list[int] = []
    while (
        len(found) < most and (held := service.next_assignment(session, user, batch.id if batch else None)) is not None
    ):
        found.append(session.get_one(Comparison, held.comparison_id).batch_id)
        recording.submit(session, user, held.id, tie(held), f"key {user.id} {held.id}")
        session.commit()
    return found


def waiting(session: Session, user: User) -> dict[int, int]:
    return {each.id: each.waiting for each in queries.visible_batches(session, user)}


def test_items_of_a_batch_go_to_its_team_alone_and_without_one_to_everybody(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    night = teams.create(session, bob, "Night shift", [alice.id])
    day = teams.create(session, bob, "Day shift", [rita.id])
    first, second, open_to_all = (filled(session, 2) for _ in range(3))
    change(session, bob, first, teams=[night.id])
    change(session, bob, second, teams=[day.id])

    assert waiting(session, alice) == {first.id: 2, open_to_all.id: 2}
    assert Counter(taken(session, rita)) == {second.id: 2, open_to_all.id: 2}
    assert taken(session, alice) == [first.id, first.id]
    assert taken(session, bob) == [], "an admin is given what anybody is"


def test_people_are_assigned_beside_teams_and_barred_in_spite_of_them(session: Session, bob: User) -> None:
    alice, rita, charlie = (make_user(session, name=name) for name in ("Alice", "Rita", "Charlie"))
    team = teams.create(session, bob, "Night shift", [alice.id, rita.id])
    batch = filled(session, 3)
    change(session, bob, batch, teams=[team.id], people=[charlie.id], barred=[rita.id])

    assert taken(session, charlie, 1) == [batch.id]
    assert taken(session, rita) == []
    assert batch.id not in waiting(session, rita)
    assert taken(session, alice) == [batch.id] * 2

    everybodys = filled(session, 1)
    change(session, bob, everybodys, barred=[alice.id])
    assert not everybodys.assigned_only
    assert taken(session, alice) == []
    assert taken(session, rita) == [everybodys.id]


def test_who_holds_an_item_when_the_batch_goes_to_others_keeps_it(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = filled(session, 2)
    held = service.next_assignment(session, alice)
    assert held is not None
    session.commit()
    change(session, bob, batch, people=[rita.id], barred=[alice.id])

    again = service.next_assignment(session, alice)
    assert again is not None
    assert again.id == held.id
    assert waiting(session, alice) == {batch.id: 1}, "what she began, and nothing new"
    recording.submit(session, alice, held.id, tie(held), "k")
    session.commit()
    assert service.next_assignment(session, alice) is None
    assert taken(session, rita) == [batch.id]


def test_what_was_skipped_does_not_come_back_from_a_batch_that_went_to_others(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = filled(session, 1)
    held = service.next_assignment(session, alice)
    assert held is not None
    service.skip(session, alice, held.id, "no")
    session.commit()
    change(session, bob, batch, people=[rita.id])
    with pytest.raises(Conflict, match="gives you nothing more"):
        recording.undo(session, alice, held.id)


def test_a_deleted_team_leaves_its_batch_to_nobody_until_somebody_says_who(session: Session, bob: User) -> None:
    alice = make_user(session)
    team = teams.create(session, bob, "Night shift", [alice.id])
    batch = filled(session, 2)
    change(session, bob, batch, teams=[team.id])
    assert taken(session, alice, 1) == [batch.id]

    assert teams.remove(session, bob, team) == [(batch.id, batch.name)]
    session.commit()
    assert taken(session, alice) == []
    assert session.scalar(select(func.count()).select_from(Assignment)) == 1, "what was judged stays"
    change(session, bob, batch, priority="high")
    assert taken(session, alice) == [], "another setting gives it to nobody"
    change(session, bob, batch, teams=[], people=[])
    assert taken(session, alice) == [batch.id]


def test_higher_priority_comes_first_then_what_is_due_first_then_the_oldest(session: Session, bob: User) -> None:
    alice = make_user(session)
    low, old, late, soon, high = (filled(session, 1) for _ in range(5))
    now = datetime.now(UTC)
    change(session, bob, low, priority="low", deadline=now - timedelta(days=1))
    change(session, bob, late, deadline=now + timedelta(days=9))
    change(session, bob, soon, deadline=now + timedelta(days=1))
    change(session, bob, high, priority="high")
    order = [high.id, soon.id, late.id, old.id, low.id]

    shown = queries.visible_batches(session, alice)
    assert [each.id for each in shown] == order
    assert [each.overdue for each in shown] == [False, False, False, False, True]
    assert taken(session, alice) == order


def test_after_an_item_a_batch_of_higher_priority_comes_before_the_rest_of_its_own(session: Session, bob: User) -> None:
    alice = make_user(session)
    batch, urgent, due = (filled(session, 2) for _ in range(3))
    change(session, bob, urgent, priority=Priority.HIGH)
    change(session, bob, due, deadline=datetime.now(UTC))

    def following(*, above: bool) -> int:
        held = service.next_assignment(session, alice, batch.id, or_above=above)
        assert held is not None
        service.skip(session, alice, held.id, "next")
        return session.get_one(Comparison, held.comparison_id).batch_id

    assert following(above=False) == batch.id, "who asked for a batch is given that one"
    assert following(above=True) == urgent.id
    assert following(above=True) == urgent.id
    assert following(above=True) == batch.id, "a nearer deadline alone does not take anybody out of their batch"


def test_a_quota_counts_what_was_judged_or_begun_and_nothing_that_was_skipped(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = filled(session, 6)
    change(session, bob, batch, quota=2)
    held = service.next_assignment(session, alice)
    assert held is not None
    service.skip(session, alice, held.id, "not mine")
    session.commit()

    assert taken(session, alice) == [batch.id] * 2
    [seen] = queries.visible_batches(session, alice)
    assert (seen.quota_used, seen.waiting) == (True, 0)
    with pytest.raises(Conflict):
        recording.undo(session, alice, held.id)
    assert taken(session, rita) == [batch.id] * 2
    change(session, bob, batch, quota=3)
    assert taken(session, alice) == [batch.id]
    change(session, bob, batch, quota=None)
    assert len(taken(session, rita)) == 1, "five are judged, and one is left"


def test_a_lease_that_ran_out_counts_until_others_have_finished_the_item(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = filled(session, 2)
    change(session, bob, batch, quota=1)
    held = service.next_assignment(session, alice)
    assert held is not None
    service.release(session, alice, held.id)
    session.commit()
    again = service.next_assignment(session, alice)
    assert again is not None
    assert again.id == held.id, "no second item is begun beside it"
    service.release(session, alice, held.id)
    session.commit()
    assert len(taken(session, rita, 1)) == 1
    done = session.get_one(Comparison, held.comparison_id, populate_existing=True).annotators_done
    assert done == 1
    assert taken(session, alice) == [batch.id]


def test_a_quota_must_leave_something_after_the_qualification(session: Session, bob: User) -> None:
    batch = filled(session, 1)
    with pytest.raises(BadInput, match="Qualifying takes 5"):
        change(session, bob, batch, quota=5, qualification_items=5)
    session.rollback()
    change(session, bob, batch, quota=6, qualification_items=5)


def test_a_batch_for_readers_gives_known_languages_to_those_who_said_that_they_read_them(
    session: Session, bob: User
) -> None:
    batch = make_batch(session)
    for code in ("de", "fr", None):
        prompt = make_prompt(session, batch)
        prompt.language = code
        session.commit()
        make_comparison(session, batch=batch, prompt=prompt)
    change(session, bob, batch, readers_only=True)
    silent, german = make_user(session), make_user(session, name="Dora")
    german.languages = ["de"]
    session.commit()

    assert waiting(session, german) == {batch.id: 2}
    assert waiting(session, silent) == {batch.id: 1}
    assert len(taken(session, silent)) == 1, "that of which nobody knows the language"
    assert len(taken(session, german)) == 1


def test_nobody_is_asked_for_a_second_opinion_that_nobody_may_give(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = make_batch(session)
    batch.overlap_percent = 100
    item = make_comparison(session, batch=batch, prompt=make_prompt(session, batch), wanted=2)
    assert seats_of(session, batch, make_prompt(session, batch)) == 2
    change(session, bob, batch, people=[alice.id])

    assert seats_of(session, batch, make_prompt(session, batch)) == 1
    session.refresh(item)
    assert (item.annotators_wanted, item.seats_free) == (1, 1), "what waits does not wait for a second person"
    change(session, bob, batch, people=[alice.id, rita.id])
    assert seats_of(session, batch, make_prompt(session, batch)) == 2


def test_twenty_at_once_on_a_restricted_batch_never_overshoot_and_nobody_else_is_given_one(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        people = [make_user(session, name=f"P{number}") for number in range(20)]
        inside = teams.create(session, bob, "Inside", [each.id for each in people[:10]])
        batch = filled(session, 4, wanted=3)
        change(session, bob, batch, teams=[inside.id], quota=2)

    def work(session: Session, index: int) -> int:
        done = 0
        for turn in range(6):
            held = service.next_assignment(session, people[index])
            if held is not None:
                recording.submit(session, people[index], held.id, _tie(held.fencing_token), f"k{index}-{turn}")
                done += 1
            session.commit()
        return done

    done = at_once(committed, 20, work)
    assert done[10:] == [0] * 10
    assert max(done[:10]) <= 2
    with Session(committed) as session:
        rows = session.execute(select(Comparison.annotators_done, Comparison.seats_free)).all()
        assert all(row.annotators_done + row.seats_free == 3 for row in rows)
        held_by = set(session.scalars(select(Assignment.annotator_id)))
        assert held_by <= {each.id for each in people[:10]}
        assert sum(row.annotators_done for row in rows) == sum(done) == 12


def _tie(token: int) -> Submission:
    return Submission(fencing_token=token, outcome=Outcome.TIE)


def test_two_tabs_never_take_more_than_the_quota(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
        batch = filled(session, 9)
        change(session, bob, batch, quota=3)

    def work(session: Session, index: int) -> None:
        for turn in range(3):
            held = service.next_assignment(session, alice)
            if held is not None:
                session.commit()
                try:
                    recording.submit(session, alice, held.id, _tie(held.fencing_token), f"t{index}-{turn}")
                except Conflict:  # the other tab was given the same item, and submitted it
                    session.rollback()
            session.commit()

    at_once(committed, 6, work)
    with Session(committed) as session:
        states: Sequence[AssignmentState] = session.scalars(select(Assignment.state)).all()
        assert states == [AssignmentState.SUBMITTED] * 3


def test_the_batch_changes_hands_while_people_claim(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob = make_user(session, Role.ADMIN, "Bob")
        people = [make_user(session, name=f"P{number}") for number in range(6)]
        batch = filled(session, 60)
        change(session, bob, batch, people=[each.id for each in people[:3]])

    def work(session: Session, index: int) -> list[int]:
        if index == 6:
            settings.change(
                session, bob, session.get_one(Batch, batch.id), BatchChange(people=[each.id for each in people[3:]])
            )
            session.commit()
            return []
        return taken(session, people[index], 10)

    at_once(committed, 7, work)
    with Session(committed) as session:
        rest = [taken(session, each) for each in people[:3]]
        assert rest == [[], [], []], "from the change on they are given nothing"
        assert set(session.scalars(select(Comparison.annotators_done))) <= {0, 1}


def test_guidelines_of_a_batch_of_others_are_not_there(session: Session, bob: User) -> None:
    alice, rita = make_user(session), make_user(session, name="Rita")
    batch = filled(session, 2)
    assert taken(session, alice, 1) == [batch.id]
    change(session, bob, batch, people=[bob.id])
    assert access_guidelines(session, alice, batch.id) is batch, "she may correct what she has judged"
    with pytest.raises(NotFound):
        access_guidelines(session, rita, batch.id)
