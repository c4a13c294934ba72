from __future__ import annotations

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.candidates import service
from app.candidates.models import Candidate
from app.candidates.service import Claim, SampledText
from app.kernel.db import make_session
from app.kernel.settings import get_settings
from app.prompts.forms import BatchSettings
from app.prompts.models import Batch, BatchState, Prompt, PromptState
from tests.factories import make_batch, make_deployment, make_prompt
from tests.generating import open_batch


def answers(session: Session, *texts: str) -> list[SampledText]:
    source = make_deployment(session)
    return [SampledText(source.checkpoint_id, source.id, each, "stop", 5, 7, {}, "vllm 0.32.0") for each in texts]


def claimed(session: Session) -> Claim:
    (claim,) = service.claim_prompts(session, 1)
    return claim


def last_try(session: Session) -> Claim:
    claim = service.claim_last_try(session)
    assert claim is not None
    return claim


def state_of(session: Session, claim: Claim) -> Prompt:
    session.expire_all()
    return session.get_one(Prompt, claim.prompt_id)


def age(session: Session, seconds: int) -> None:
    """Let the database's clock seem ``seconds`` later for every lease and retry."""
    session.execute(
        text("""UPDATE prompts SET lease_until = lease_until - make_interval(secs => :s),
                       next_try_at = next_try_at - make_interval(secs => :s)"""),
        {"s": seconds},
    )


@pytest.mark.parametrize(("state", "found"), [("preparing", 1), ("open", 1), ("paused", 0), ("closed", 0)])
def test_only_batches_that_are_preparing_or_open_are_claimed(session: Session, state: str, found: int) -> None:
    open_batch(session, ["Why is the sky blue?"], state=BatchState(state))
    assert len(service.claim_prompts(session, 5)) == found
    assert not service.work_is_due(session)


def test_a_claim_carries_what_the_batch_asks_for(session: Session) -> None:
    batch = open_batch(session, ["Why is the sky blue?"], wanted=3)
    claim = claimed(session)
    assert (claim.wanted, claim.max_tokens, claim.fencing_token, claim.attempts) == (3, batch.max_tokens, 1, 0)
    assert claim.messages == [{"role": "user", "content": "Why is the sky blue?"}]
    assert service.claim_prompts(session, 5) == []


def test_a_batch_that_says_nothing_asks_for_four(session: Session) -> None:
    assert BatchSettings(name="Plain").candidates_per_prompt == 4
    batch = make_batch(session)
    session.add(Batch(name="Plainer", round_id=batch.round_id, state=BatchState.OPEN, guidelines=""))
    session.flush()
    plain = session.scalars(select(Batch).where(Batch.name == "Plainer")).one()
    make_prompt(session, plain)
    assert claimed(session).wanted == 4


def test_two_workers_never_claim_the_same_prompt(committed: Engine) -> None:
    with make_session() as first, make_session() as second:
        open_batch(first, [f"Question {n}" for n in range(6)])
        mine = {claim.prompt_id for claim in service.claim_prompts(first, 4)}
        theirs = {claim.prompt_id for claim in service.claim_prompts(second, 4)}
        assert (len(mine), len(theirs)) == (4, 2)
        assert mine.isdisjoint(theirs)


def test_a_claim_takes_no_more_than_it_asked_for_whatever_plan_is_chosen(session: Session) -> None:
    """A nested loop that asks a limited SKIP LOCKED again for each row gets other rows each time.

    The planner takes one where it believes that there are few prompts, as it does after many were deleted.
    """
    open_batch(session, [f"Question {n}" for n in range(6)])
    session.execute(text("UPDATE pg_class SET reltuples = 0, relpages = 100 WHERE relname = 'prompts'"))
    for plan in ("hashjoin", "mergejoin", "material"):
        session.execute(text(f"SET LOCAL enable_{plan} = off"))
    assert len(service.claim_prompts(session, 4)) == 4
    assert len(service.claim_prompts(session, 4)) == 2


def test_recorded_answers_keep_a_running_index_and_make_the_prompt_ready(session: Session) -> None:
    open_batch(session, ["Why?"])
    claim = claimed(session)
    assert service.record_candidates(session, claim, answers(session, "Because.", "No idea."))
    assert state_of(session, claim).state is PromptState.READY
    stored = session.execute(select(Candidate.text, Candidate.sample_index).order_by(Candidate.id)).all()
    assert stored == [("Because.", 0), ("No idea.", 1)]


def test_what_comes_back_with_an_old_token_is_dropped(session: Session) -> None:
    open_batch(session, ["Why?"])
    late = claimed(session)
    age(session, 10_000)
    assert service.release_expired(session) == 1
    age(session, 10)
    current = claimed(session)
    assert current.fencing_token == late.fencing_token + 1
    assert not service.record_candidates(session, late, answers(session, "Late.", "Later."))
    assert not service.fail_prompt(session, late, "late", retry_in=1.0)
    assert service.renew(session, [late]) == set()
    assert service.release(session, [late]) == 0
    assert session.scalars(select(Candidate)).all() == []
    assert service.record_candidates(session, current, answers(session, "In", "time"))


def test_answers_that_are_all_the_same_are_sampled_again(session: Session) -> None:
    open_batch(session, ["Say yes."])
    claim = claimed(session)
    assert not service.record_candidates(session, claim, answers(session, "Yes.", "Yes. "))
    prompt = state_of(session, claim)
    assert (prompt.state, prompt.attempts) == (PromptState.PENDING, 1)
    age(session, 10)
    assert service.record_candidates(session, claimed(session), answers(session, "Yes.", "Yes!"))


def test_a_prompt_is_quarantined_after_its_last_try_with_the_reason(session: Session) -> None:
    open_batch(session, ["Why?"])
    for tries in (1, 2, 3):
        claim = claimed(session) if tries < 3 else last_try(session)
        assert service.fail_prompt(session, claim, f"failure {tries}", retry_in=1.0)
        age(session, 100)
    prompt = state_of(session, claim)
    assert (prompt.state, prompt.attempts, prompt.last_error) == (PromptState.QUARANTINED, 3, "failure 3")
    assert not service.work_is_due(session)


def test_a_hopeless_prompt_is_quarantined_at_once(session: Session) -> None:
    open_batch(session, ["Too long"])
    claim = claimed(session)
    service.fail_prompt(session, claim, "too long", retry_in=None)
    assert state_of(session, claim).state is PromptState.QUARANTINED


def test_the_last_try_is_made_alone(session: Session) -> None:
    open_batch(session, ["One", "Two"])
    for _ in range(2):
        service.claim_prompts(session, 2)
        age(session, 10_000)
        service.release_expired(session)
        age(session, 100)
    assert service.claim_prompts(session, 2) == []
    assert service.work_is_due(session)
    assert service.claim_last_try(session) is not None


def test_giving_back_counts_no_try(session: Session) -> None:
    open_batch(session, ["Why?"])
    claim = claimed(session)
    assert service.release(session, [claim]) == 1
    prompt = state_of(session, claim)
    assert (prompt.state, prompt.attempts, prompt.lease_until) == (PromptState.PENDING, 0, None)


def test_a_renewed_lease_does_not_run_out(session: Session) -> None:
    open_batch(session, ["Why?"])
    claim = claimed(session)
    lease = get_settings().generation_lease
    age(session, lease - 1)
    assert service.renew(session, [claim]) == {claim.prompt_id}
    age(session, 2)
    assert service.release_expired(session) == 0
    assert state_of(session, claim).state is PromptState.GENERATING


def test_a_paused_batch_in_front_does_not_hold_up_the_next(session: Session) -> None:
    paused = make_batch(session, state=BatchState.PAUSED)
    for number in range(5):
        make_prompt(session, paused, f"Waiting {number}")
    open_batch(session, ["Go"])
    assert [claim.messages[0]["content"] for claim in service.claim_prompts(session, 3)] == ["Go"]


def test_retries_wait_longer_each_time_and_not_in_step() -> None:
    waits = [[service.backoff(tries) for _ in range(50)] for tries in range(8)]
    assert all(len(set(each)) > 1 for each in waits)
    assert all(1.0 <= wait <= 60.0 for each in waits for wait in each)
    assert max(waits[0]) < min(waits[2])
