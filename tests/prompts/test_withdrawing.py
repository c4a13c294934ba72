"""Bob takes a prompt out of a batch while nobody has judged it; nothing is deleted, and it can be put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import AuditEvent, Role, User
from app.annotations import recording, service
from app.batches import withdrawing
from app.batches.queries import Progress, batch_progress
from app.candidates import service as candidates
from app.comparisons.models import Assignment, AssignmentState, ChoiceAwaited, Comparison
from app.comparisons.service import await_choice, create_comparison
from app.kernel.errors import Conflict
from app.kernel.jobs import Job
from app.preferences.prompt_lines import to_train_on
from app.prompts.models import Batch, BatchState, Prompt, PromptState
from app.quality.service import make_gold
from app.upkeep.audit import audit
from tests.annotations.test_concurrency import at_once, tie
from tests.factories import (
    make_annotation,
    make_assignment,
    make_batch,
    make_candidate,
    make_comparison,
    make_prompt,
    make_user,
    make_writing,
    sign_in,
)


def of(session: Session, item: Comparison) -> Prompt:
    return session.get_one(Prompt, item.prompt_id)


def progress(session: Session, batch_id: int) -> Progress:
    return batch_progress(session, [batch_id])[batch_id]


@pytest.fixture
def sound(session: Session) -> Iterator[None]:
    """Nothing is broken at the end."""
    yield
    session.expire_all()
    assert not audit(session, files=False)


@pytest.mark.usefixtures("sound")
def test_a_prompt_that_nobody_has_judged_is_withdrawn_and_restored(session: Session, bob: User) -> None:
    alice, batch = make_user(session), make_batch(session, annotators_per_prompt=2)
    item, other = (make_comparison(session, batch=batch, wanted=2) for _ in range(2))
    withdrawing.withdraw(session, bob, of(session, item))
    withdrawing.withdraw(session, bob, of(session, item))
    session.commit()
    found = progress(session, batch.id)
    assert (found.total, found.withdrawn, found.comparisons, found.unstarted, found.annotations_wanted) == (
        1,
        1,
        1,
        1,
        2,
    )
    assert make_assignment(session, alice, other).comparison_id == other.id
    service.skip(session, alice, session.scalars(select(Assignment.id)).one(), "no")
    assert service.next_assignment(session, alice) is None, "it is given to nobody"
    withdrawing.restore(session, bob, of(session, item))
    withdrawing.restore(session, bob, of(session, item))
    session.commit()
    session.refresh(item)
    assert (item.annotators_wanted, item.seats_free, of(session, item).state) == (2, 2, PromptState.READY)
    assert session.get_one(Batch, batch.id).times_extended == 1
    assert make_assignment(session, alice, item).comparison_id == item.id
    events = session.scalars(
        select(AuditEvent.action).where(AuditEvent.subject_type == "prompt").order_by(AuditEvent.id)
    )
    assert list(events) == ["prompt.withdraw", "prompt.restore"]


@pytest.mark.usefixtures("sound")
def test_what_is_judged_or_open_or_known_stays_and_the_remedy_is_said(session: Session, bob: User) -> None:
    alice = make_user(session)
    judged, held, known = make_comparison(session), make_comparison(session), make_comparison(session, wanted=2)
    undone = make_annotation(session, bob, known)
    make_gold(session, bob, undone, "Because.")
    recording.undo(session, bob, undone.assignment_id)
    service.skip(session, bob, undone.assignment_id, "for the test")
    session.commit()
    make_annotation(session, alice, judged)
    make_assignment(session, alice, held)
    for item, said in ((judged, "retract it"), (held, "has this prompt open"), (known, "retire the known answer")):
        with pytest.raises(Conflict, match=said):
            withdrawing.withdraw(session, bob, of(session, item))
    assert {each.state for each in session.scalars(select(Prompt))} == {PromptState.READY}


@pytest.mark.usefixtures("sound")
def test_a_skip_and_a_draft_are_kept_and_told_of_when_they_come_back(session: Session, bob: User) -> None:
    alice, item = make_user(session), make_comparison(session)
    held = make_assignment(session, alice, item)
    service.release(session, alice, held.id)
    withdrawing.withdraw(session, bob, of(session, item))
    session.commit()
    with pytest.raises(Conflict, match="nobody is asked any more"):
        recording.submit(session, alice, held.id, tie(held), "key")
    assert session.scalars(select(Assignment.state)).all() == [AssignmentState.RELEASED]
    withdrawing.restore(session, bob, of(session, item))
    recording.submit(session, alice, held.id, tie(held), "key")
    session.commit()


@pytest.mark.usefixtures("sound")
def test_what_a_worker_is_generating_is_dropped(session: Session, bob: User, rung: list[Job]) -> None:
    batch = make_batch(session)
    prompt, waiting = make_prompt(session, batch), make_prompt(session, batch)
    claims = {each.prompt_id: each for each in candidates.claim_prompts(session, 1)}
    taken = session.get_one(Prompt, next(iter(claims)), populate_existing=True)
    left = waiting if taken.id == prompt.id else prompt
    withdrawing.withdraw(session, bob, taken)
    withdrawing.withdraw(session, bob, left)
    session.commit()
    assert not candidates.record_candidates(session, claims[taken.id], [])
    assert not candidates.renew(session, claims.values())
    assert candidates.claim_prompts(session, 5) == []
    withdrawing.restore(session, bob, left)
    session.commit()
    assert [each.prompt_id for each in candidates.claim_prompts(session, 5)] == [left.id]
    assert Job.GENERATE in rung
    session.execute(update(Prompt).where(Prompt.id == left.id).values(state=PromptState.PENDING, lease_until=None))


@pytest.mark.usefixtures("sound")
def test_a_prompt_whose_choice_is_awaited_is_not_chosen_for_and_waits_again(session: Session, bob: User) -> None:
    prompt = make_prompt(session, make_batch(session), state=PromptState.READY)
    make_candidate(session, prompt, "a"), make_candidate(session, prompt, "b")
    await_choice(session, prompt)
    withdrawing.withdraw(session, bob, prompt)
    session.commit()
    assert session.scalars(select(ChoiceAwaited)).all() == []
    assert create_comparison(session, prompt) is None
    withdrawing.restore(session, bob, prompt)
    session.commit()
    assert (prompt.state, session.scalars(select(ChoiceAwaited.prompt_id)).all()) == (PromptState.READY, [prompt.id])


@pytest.mark.usefixtures("sound")
def test_where_people_write_it_is_the_same(session: Session, bob: User) -> None:
    one, _ = make_writing(session, "One?", "Two?")
    before = to_train_on(session, 9)
    withdrawing.withdraw(session, bob, of(session, one))
    session.commit()
    assert to_train_on(session, 9) == before - 1
    withdrawing.restore(session, bob, of(session, one))
    session.commit()
    assert session.scalars(select(Comparison.seats_free)).all() == [1, 1]


def test_a_closed_batch_takes_none_back(session: Session, bob: User) -> None:
    batch = make_batch(session)
    prompt = make_prompt(session, batch)
    withdrawing.withdraw(session, bob, prompt)
    batch.state = BatchState.CLOSED
    session.commit()
    with pytest.raises(Conflict, match="closing is final"):
        withdrawing.restore(session, bob, prompt)


def test_page_and_program_withdraw_and_restore(client: TestClient, session: Session, bob: User) -> None:
    prompt = make_prompt(session, make_batch(session))
    url = f"/prompts/{prompt.id}"
    assert f'action="{url}/withdraw"' in client.get(url).text
    assert "nobody is given this prompt" in client.post(f"{url}/withdraw", follow_redirects=True).text
    assert f'action="{url}/restore"' in client.get(url).text
    listed = client.get(f"/batches/{prompt.batch_id}?state=withdrawn").text
    assert prompt.external_id in listed
    assert "1 prompt is withdrawn" in listed
    assert "part of its batch again" in client.post(f"{url}/restore", follow_redirects=True).text
    secret = accounts.create_token(session, bob, "script", ["admin"])
    session.commit()
    who = {"authorization": f"Bearer {secret}", "idempotency-key": "one"}
    first, again = (client.post(f"/api/v1{url}/withdraw", headers=who) for _ in range(2))
    assert first.json()["state"] == again.json()["state"] == "withdrawn"
    assert again.headers["idempotent-replayed"] == "true"
    del who["idempotency-key"]
    assert client.post(f"/api/v1{url}/restore", headers=who).json()["state"] == "pending"
    assert client.post("/api/v1/prompts/999/withdraw", headers=who).status_code == 404
    item = make_comparison(session)
    make_annotation(session, make_user(session), item)
    assert client.post(f"/api/v1/prompts/{item.prompt_id}/withdraw", headers=who).status_code == 409
    assert "retract it" in client.post(f"/prompts/{item.prompt_id}/withdraw").text
    for role, status in ((Role.REVIEWER, 403), (Role.ANNOTATOR, 403)):
        sign_in(client, make_user(session, role, "Charlie"))
        for act in ("withdraw", "restore"):
            assert client.post(f"{url}/{act}").status_code == status
            assert client.post(f"/api/v1{url}/{act}").status_code == status


def test_a_claim_and_a_withdrawal_at_once_never_both_succeed(committed: Engine) -> None:
    with Session(committed, expire_on_commit=False) as session:
        bob, alice = make_user(session, Role.ADMIN, "Bob"), make_user(session)
        batch = make_batch(session)

    def race(session: Session, index: int) -> bool:
        if index:
            return service.next_assignment(session, alice, batch.id) is not None
        try:
            withdrawing.withdraw(
                session, bob, session.scalars(select(Prompt).order_by(Prompt.id.desc()).limit(1)).one()
            )
        except Conflict:
            return False
        return True

    for _ in range(8):
        with Session(committed, expire_on_commit=False) as session:
            make_comparison(session, batch=batch)
        withdrawn, claimed = at_once(committed, 2, race)
        assert not (withdrawn and claimed)
        with Session(committed) as session:
            for held in session.scalars(select(Assignment).where(Assignment.state == AssignmentState.ACTIVE)):
                service.skip(session, session.get_one(User, alice.id), held.id, "for the test")
            session.commit()
            assert not audit(session, files=False)
