"""Leases, drafts and skips: what is kept of an item in work, for whom, and how long. Races are in test_concurrency.py."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from app.annotations import recording, service
from app.comparisons.models import AssignmentState
from app.judgements.judgement import Draft
from app.kernel.errors import BadInput, Conflict, LeaseLost, StaleVersion
from tests.annotations.submitting import expire, ranked, seats
from tests.factories import (
    make_assignment,
    make_comparison,
    make_user,
)


def test_a_lease_that_ran_out_is_released_with_its_draft(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    service.save_draft(session, alice, assignment.id, Draft(comment="so far"), 0)
    expire(session, assignment)
    assert service.release_expired(session) == 1
    assert service.release_expired(session) == 0
    session.refresh(assignment)
    assert assignment.state is AssignmentState.RELEASED
    assert assignment.draft is not None
    assert assignment.draft["comment"] == "so far"
    assert seats(session, comparison) == (1, 0)


def test_a_sweep_gives_back_every_seat_of_one_comparison(session: Session) -> None:
    comparison = make_comparison(session, wanted=3)
    for _ in range(3):
        expire(session, make_assignment(session, make_user(session), comparison))
    assert service.release_expired(session) == 3
    assert seats(session, comparison) == (3, 0)


def test_a_released_item_is_accepted_while_its_seat_is_free(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    expire(session, assignment)
    service.release_expired(session)
    recording.submit(session, alice, assignment.id, ranked(assignment), "k1")
    assert seats(session, comparison) == (0, 1)


def test_an_expired_lease_that_nobody_swept_is_accepted(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    expire(session, assignment)
    recording.submit(session, alice, assignment.id, ranked(assignment), "k1")
    assert seats(session, comparison) == (0, 1)


def test_a_released_item_that_was_taken_is_refused_and_the_text_is_kept(session: Session) -> None:
    alice, rita, comparison = make_user(session), make_user(session, name="Rita"), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    expire(session, assignment)
    service.release_expired(session)
    make_assignment(session, rita, comparison)
    given = ranked(assignment, edited_text="My long edit", comment="and why")
    with pytest.raises(LeaseLost):
        recording.submit(session, alice, assignment.id, given, "k1")
    service.keep_draft(session, alice, assignment.id, given.draft(), given.fencing_token)
    session.refresh(assignment)
    assert assignment.draft is not None
    assert assignment.draft["edits"] == {"A": "My long edit"}
    assert assignment.draft["comment"] == "and why"
    assert seats(session, comparison) == (0, 0)


def test_alice_gets_her_released_item_again_with_a_new_token(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    order = list(assignment.order_shown)
    service.save_draft(session, alice, assignment.id, Draft(comment="so far"), 0)
    service.release(session, alice, assignment.id)
    again = service.next_assignment(session, alice)
    assert again is not None
    assert (again.id, again.fencing_token, again.order_shown) == (assignment.id, 2, order)
    assert seats(session, comparison) == (0, 0)


def test_the_token_of_an_older_lease_is_refused(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    old = ranked(assignment)
    service.release(session, alice, assignment.id)
    service.next_assignment(session, alice)
    with pytest.raises(LeaseLost, match="another window"):
        recording.submit(session, alice, assignment.id, old, "k1")


def test_a_heartbeat_renews_the_lease_and_takes_a_free_seat_back(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    expire(session, assignment)
    assert service.extend_lease(session, alice, assignment.id).lease_until > assignment.created_at
    service.release(session, alice, assignment.id)
    assert service.extend_lease(session, alice, assignment.id).fencing_token == 2
    assert seats(session, comparison) == (0, 0)


def test_a_heartbeat_says_when_the_seat_was_taken(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    service.release(session, alice, assignment.id)
    make_assignment(session, make_user(session, name="Rita"), comparison)
    with pytest.raises(LeaseLost):
        service.extend_lease(session, alice, assignment.id)


def test_two_tabs_do_not_overwrite_each_other(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    assert service.save_draft(session, alice, assignment.id, Draft(comment="left"), 0) == 1
    with pytest.raises(StaleVersion) as refused:
        service.save_draft(session, alice, assignment.id, Draft(comment="right"), 0)
    assert refused.value.extra["stored"]["comment"] == "left"
    assert refused.value.extra["version"] == 1
    assert service.save_draft(session, alice, assignment.id, Draft(comment="right"), 1) == 2


def test_a_draft_whose_answer_was_lost_can_be_saved_again(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    service.save_draft(session, alice, assignment.id, Draft(comment="left"), 0)
    assert service.save_draft(session, alice, assignment.id, Draft(comment="left"), 0) == 1


def test_a_skip_gives_the_seat_to_others_and_keeps_the_reason(session: Session) -> None:
    alice, comparison = make_user(session), make_comparison(session)
    assignment = make_assignment(session, alice, comparison)
    service.skip(session, alice, assignment.id, " I do not read Finnish ")
    service.skip(session, alice, assignment.id, "again")
    session.refresh(assignment)
    assert (assignment.state, assignment.skip_reason) == (AssignmentState.SKIPPED, "I do not read Finnish")
    assert seats(session, comparison) == (1, 0)
    assert service.next_assignment(session, alice) is None
    assert service.next_assignment(session, make_user(session, name="Rita")) is not None
    for refused in (
        lambda: recording.submit(session, alice, assignment.id, ranked(assignment), "k1"),
        lambda: service.save_draft(session, alice, assignment.id, Draft(), 0),
    ):
        with pytest.raises(Conflict):
            refused()


def test_a_skip_needs_a_reason(session: Session) -> None:
    alice = make_user(session)
    with pytest.raises(BadInput, match="Say why"):
        service.skip(session, alice, make_assignment(session, alice).id, "  ")


def test_what_was_submitted_cannot_be_skipped(session: Session) -> None:
    alice = make_user(session)
    assignment = make_assignment(session, alice)
    recording.submit(session, alice, assignment.id, ranked(assignment), "k1")
    with pytest.raises(Conflict, match="already"):
        service.skip(session, alice, assignment.id, "too late")
