"""Races, with real transactions in real threads: the promises hold whatever the clients do."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording, service
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.comparisons.seats import Held
from app.judgements.vocabulary import Outcome
from app.kernel.errors import Conflict
from tests.factories import make_assignment, make_batch, make_comparison, make_user


def at_once(engine: Engine, n: int, act: Callable[[Session, int], Any]) -> list[Any]:
    """Run ``act`` in ``n`` threads that start together, each in its own transaction."""
    gate = threading.Barrier(n)

    def one(index: int) -> Any:
        with Session(engine, expire_on_commit=False) as session:
            gate.wait(30)
            result = act(session, index)
            session.commit()
            return result

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(one, range(n)))


def tie(assignment: Assignment | Held) -> Submission:
    return Submission(fencing_token=assignment.fencing_token, outcome=Outcome.TIE)


def test_twenty_identical_submits_store_one(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        alice = make_user(session)
        assignment = make_assignment(session, alice)
    answers = at_once(
        committed, 20, lambda session, _: recording.submit(session, alice, assignment.id, tie(assignment), "one-key").id
    )
    assert len(set(answers)) == 1
    with Session(committed) as session:
        assert session.scalar(select(func.count()).select_from(Annotation)) == 1
        assert session.scalars(select(Comparison.annotators_done)).all() == [1]


def test_two_tabs_that_ask_at_once_share_one_seat(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        alice, batch = make_user(session), make_batch(session)
        for _ in range(3):
            make_comparison(session, batch=batch)
    found = at_once(committed, 8, lambda session, _: service.next_assignment(session, alice))
    assert len({assignment.id for assignment in found}) == 1


def test_overlap_is_never_exceeded(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        batch = make_batch(session, annotators_per_prompt=2)
        people = [make_user(session, name=f"Alice{index}") for index in range(32)]
        last = [make_user(session, name="Rita"), make_user(session, name="Zoe")]
        for _ in range(40):
            make_comparison(session, batch=batch, wanted=2)

    def work(user: User) -> int:
        done = 0
        for step in range(40):
            with Session(committed, expire_on_commit=False) as session:
                assignment = service.next_assignment(session, user)
                session.commit()
                if assignment is None:
                    return done
                if step % 5 == 4 and user in people:
                    service.skip(session, user, assignment.id, "for the test")
                else:
                    recording.submit(session, user, assignment.id, tie(assignment), f"{user.id}-{assignment.id}")
                    done += 1
                session.commit()
        return done

    with ThreadPoolExecutor(16) as pool:
        done = sum(pool.map(work, people))
    done += sum(work(user) for user in last)  # what was skipped after everybody else had gone home
    with Session(committed) as session:
        counts = Counter(session.scalars(select(Annotation.comparison_id)).all())
        assert sum(counts.values()) == done == 80
        assert set(counts.values()) == {2}
        assert session.execute(select(Comparison.seats_free, Comparison.annotators_done).distinct()).one() == (0, 2)


def test_a_late_submit_and_the_one_who_took_over_never_both_count(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        alice, rita = make_user(session), make_user(session, name="Rita")
        for _ in range(12):
            comparison = make_comparison(session)
            late = make_assignment(session, alice, comparison)
            service.release(session, alice, late.id)
            session.commit()

            def race(session: Session, index: int, late: Assignment = late, batch: int = comparison.batch_id) -> bool:
                if index:
                    return service.next_assignment(session, rita, batch) is not None
                try:
                    recording.submit(session, alice, late.id, tie(late), f"late-{late.id}")
                except Conflict:
                    return False
                return True

            assert sum(at_once(committed, 2, race)) == 1
        held = session.scalar(
            select(func.count()).select_from(Assignment).where(Assignment.state == AssignmentState.ACTIVE)
        )
        submitted = session.scalar(select(func.count()).select_from(Annotation))
        assert (held or 0) + (submitted or 0) == 12


def test_the_sweeper_and_the_submits_do_not_wait_for_each_other_for_ever(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        comparison = make_comparison(session, wanted=12)
        people = [make_user(session, name=f"Alice{index}") for index in range(12)]
        held = [make_assignment(session, person, comparison) for person in people]
        session.execute(update(Assignment).values(lease_until=func.now() - func.make_interval(0, 0, 0, 1)))
        session.commit()

    def act(session: Session, index: int) -> int:
        if index >= 12:
            return service.release_expired(session)
        recording.submit(session, people[index], held[index].id, tie(held[index]), f"k{index}")
        return 0

    at_once(committed, 16, act)
    with Session(committed) as session:
        stored = session.get_one(Comparison, comparison.id)
        assert (stored.annotators_done, stored.seats_free) == (12, 0)
