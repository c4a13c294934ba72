"""The ledger of checks: nothing is lost or doubled, and what cannot be checked is null."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.candidates import service as candidates
from app.findings import orders, service
from app.findings.models import Check, CheckState, Finding
from app.findings.service import Claim
from app.kernel.db import make_session
from app.prompts.models import Batch, Prompt, PromptState
from tests.candidates.test_service import age as age_prompts
from tests.candidates.test_service import answers, claimed, last_try, state_of
from tests.factories import make_batch, make_candidate, make_prompt
from tests.findings.checking import checkable, found, holds, standing, states
from tests.generating import open_batch


def claim(session: Session) -> Claim:
    held = service.claim(session)
    assert held is not None
    return held


def age(session: Session, seconds: int = 1000) -> None:
    """Let the database's clock seem later for every lease and retry."""
    session.execute(
        text("""UPDATE checks SET lease_until = lease_until - make_interval(secs => :s),
                       next_try_at = next_try_at - make_interval(secs => :s)"""),
        {"s": seconds},
    )


@pytest.mark.parametrize(
    ("given", "verifiers", "made"),
    [
        ({"reference": "42"}, None, 2),
        ({"tests": [{"kind": "quiet"}]}, None, 2),
        ({"tests": {"kind": "quiet"}}, ["quiet"], 2),
        ({"tools": [{"type": "function", "function": {"name": "add"}}]}, None, 2),
        ({}, None, 0),
        ({"reference": "", "tests": [], "tools": []}, None, 0),
        ({"tests": {}}, ["quiet"], 0),
        ({"reference": "42"}, [], 0),
    ],
)
def test_each_response_is_checked_where_there_is_something_to_check_it_against(
    session: Session, given: dict[str, Any], verifiers: list[str] | None, made: int
) -> None:
    batch = make_batch(session)
    batch.verifiers = verifiers
    checkable(session, "One.", "Two.", batch=batch, **({"reference": None} | given))
    assert states(session) == ({"pending": made} if made else {})
    assert service.work_is_due(session) is bool(made)


def test_ordering_twice_is_the_same_as_ordering_once(session: Session) -> None:
    comparison = checkable(session)
    assert orders.order_responses(session, comparison.prompt_id) == 0
    assert states(session) == {"pending": 2}


def test_what_was_found_is_stored_once_for_each_response(session: Session) -> None:
    checkable(session, "It is 42.", "unsure")
    for _ in range(2):
        held = claim(session)
        work = service.work_of(session, held)
        assert work.case["reference"] == "42"
        assert service.record(session, held, "a" * 64, holds(work.case["response"]))
        assert not service.record(session, held, "a" * 64, holds(work.case["response"])), "the lease is over"
    assert states(session) == {"done": 2}
    assert standing(session) == [("holds", True, "1 of 1 tests"), ("holds", None, "could not be read")]
    assert service.claim(session) is None


def test_thinking_is_no_part_of_what_is_checked(session: Session) -> None:
    checkable(session, "<think>41? No.</think>It is 42.", "42")
    assert service.work_of(session, claim(session)).case["response"] == "It is 42."


def test_two_workers_never_claim_the_same_check(committed: Engine) -> None:
    with make_session() as first, make_session() as second:
        checkable(first)
        mine, theirs = service.claim(first), service.claim(second)
        assert mine is not None
        assert theirs is not None
        assert mine.check_id != theirs.check_id
        assert service.claim(first) is None


def test_what_comes_back_with_an_old_token_is_dropped(session: Session) -> None:
    checkable(session)
    late = claim(session)
    age(session)
    assert service.release_expired(session) == 1
    age(session)
    held = {each.check_id: each for each in (claim(session), claim(session))}
    assert held[late.check_id].fencing_token > late.fencing_token
    assert not service.record(session, late, "", [found()])
    assert not service.fail(session, late, "late", retry_in=0)
    assert not service.renew(session, late)
    assert not service.release(session, late)
    assert standing(session) == []
    assert service.record(session, held[late.check_id], "", [found()])


def test_a_text_that_takes_its_worker_down_every_time_could_not_be_checked_and_harms_nothing_else(
    session: Session,
) -> None:
    checkable(session)
    poison = claim(session)
    assert service.record(session, claim(session), "", [found()])
    for _ in range(3):
        age(session)
        assert service.release_expired(session) == 1
        age(session)
        service.claim(session)
    row = session.get_one(Check, poison.check_id)
    session.refresh(row)
    assert (row.state, row.attempts) == (CheckState.FAILED, 3)
    assert sorted(standing(session), key=str) == [
        ("checks", None, f"Could not be checked: {row.last_error}"),
        ("holds", True, "1 of 1 tests"),
    ]


def test_what_is_given_back_costs_no_try(session: Session) -> None:
    checkable(session)
    held = claim(session)
    assert service.release(session, held)
    assert session.get_one(Check, held.check_id).attempts == 0
    assert states(session) == {"pending": 2}


def test_what_lacks_something_waits_for_it_without_a_try_and_longer_the_older_it_is(session: Session) -> None:
    checkable(session)
    waits = []
    for minutes in (0, 10, 600):
        session.execute(
            update(Check).values(created_at=func.now() - timedelta(minutes=minutes), next_try_at=func.now())
        )
        held = service.claim(session)
        assert held is not None
        assert service.put_off(session, held, "The service is away.")
        row = session.get_one(Check, held.check_id, populate_existing=True)
        assert (row.state, row.attempts, row.last_error) == (CheckState.PENDING, 0, "The service is away.")
        waits.append(session.scalar(select(Check.next_try_at - func.now()).where(Check.id == held.check_id)))
    assert [each.total_seconds() for each in waits if each] == [5, 300, 600]
    assert standing(session) == []


def test_after_a_day_what_lacks_something_is_unknown_with_its_reason(session: Session) -> None:
    checkable(session)
    session.execute(update(Check).values(created_at=func.now() - timedelta(days=2)))
    held = claim(session)
    assert not service.put_off(session, held, "The service is away.")
    assert service.record(session, held, "", [found(None, "it is away")], lacking="The service is away.")
    assert states(session) == {"failed": 1, "pending": 1}
    assert standing(session) == [("holds", None, "it is away")]


def test_findings_are_never_changed_or_deleted(session: Session) -> None:
    checkable(session)
    service.record(session, claim(session), "", [found()])
    for statement in ("UPDATE findings SET passed = false", "UPDATE findings SET message = ''", "DELETE FROM findings"):
        with pytest.raises(IntegrityError, match="append-only"), session.begin_nested():
            session.execute(text(statement))


def test_what_could_not_be_checked_is_checked_again_on_request_and_the_new_finding_stands(
    session: Session, bob: User
) -> None:
    comparison = checkable(session, "unsure", "It is 42.")
    for _ in range(2):
        held = claim(session)
        service.record(session, held, "", holds(service.work_of(session, held).case["response"]))
    batch = session.get_one(Batch, comparison.batch_id)
    assert orders.check_again(session, bob, batch) == 1
    assert ("holds", None, "could not be read") in standing(session), "until there is a new one, the old one stands"
    service.record(session, claim(session), "", [found(False, "42 wanted")])
    assert sorted(standing(session), key=str) == [("holds", False, "42 wanted"), ("holds", True, "1 of 1 tests")]
    assert len(session.scalars(select(Finding.id)).all()) == 3
    assert orders.check_again(session, bob, batch) == 0


def test_responses_older_than_their_checks_are_checked_on_request(session: Session, bob: User) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch, state=PromptState.READY)
    prompt.reference = "42"
    make_candidate(session, prompt, "It is 42.")
    assert orders.check_again(session, bob, batch) == 1


# ── Answers that are all the same ────────────────────────────────────────────────────────────────────────────────────
def sampled_alike(session: Session, answer: str = "42", reference: str | None = "42") -> Prompt:
    """A prompt whose answers are all the same, as generation leaves it."""
    if not session.scalars(select(Prompt)).all():
        open_batch(session, ["What is 6 times 7?"])
        session.execute(text("UPDATE prompts SET reference = :r"), {"r": reference})
    age_prompts(session, 100)
    held = claimed(session) if session.scalars(select(Prompt.attempts)).one() < 2 else last_try(session)
    assert not candidates.record_candidates(session, held, answers(session, answer, f"{answer} "))
    orders.order_responses(session, held.prompt_id)
    return state_of(session, held)


def check_waiting(session: Session) -> None:
    while (held := service.claim(session)) is not None:
        assert service.record(session, held, "", holds(service.work_of(session, held).case["response"]))
    session.expire_all()


def test_identical_answers_that_pass_need_no_people_and_are_no_error(session: Session) -> None:
    prompt = sampled_alike(session)
    assert (prompt.state, prompt.attempts, prompt.last_error) == (PromptState.UNANIMOUS, 0, None)
    check_waiting(session)
    assert prompt.state is PromptState.UNANIMOUS
    assert not candidates.work_is_due(session), "it is not sampled again"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("41", "All answers were identical and wrong (holds: 42 wanted)."),
        (
            "unsure",
            "All answers were identical, so there is nothing to compare. No check could say whether they are right.",
        ),
    ],
)
def test_identical_answers_that_do_not_pass_are_sampled_again_and_in_the_end_quarantined(
    session: Session, answer: str, reason: str
) -> None:
    for attempt in (1, 2, 3):
        prompt = sampled_alike(session, answer)
        assert prompt.state is PromptState.UNANIMOUS
        check_waiting(session)
        assert prompt.attempts == attempt
        assert prompt.state is (PromptState.PENDING if attempt < 3 else PromptState.QUARANTINED)
        assert prompt.last_error == reason


def test_identical_answers_of_a_prompt_with_nothing_to_check_are_a_failed_try(session: Session) -> None:
    prompt = sampled_alike(session, reference=None)
    assert (prompt.state, prompt.attempts) == (PromptState.PENDING, 1)
    assert states(session) == {}
