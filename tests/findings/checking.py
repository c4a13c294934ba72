"""What tests of checks share: prompts that can be checked, and checks that are really made."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.annotations import recording
from app.annotations.forms import Submission
from app.annotations.models import Annotation
from app.comparisons.models import Assignment, Comparison
from app.findings import orders, service
from app.findings.models import STANDS, Check, CheckState, Finding
from app.findings.service import Found
from app.judgements.vocabulary import Outcome
from app.kernel.db import session_scope
from app.prompts.models import Batch, Prompt, PromptState
from tests.factories import make_batch, make_comparison, make_prompt

Say = Callable[[str], list[Found]]


def found(
    passed: bool | None = True,  # noqa: FBT001, FBT002 - the finding itself
    message: str = "1 of 1 tests",
    verifier: str = "holds",
    **more: Any,
) -> Found:
    """What a verifier may say."""
    return Found(verifier, "1", passed, message, **more)


def checkable(
    session: Session, *texts: str, reference: str | None = "42", batch: Batch | None = None, **values: Any
) -> Comparison:
    """A comparison of ``texts`` whose prompt has a reference, with its checks in the ledger."""
    batch = batch or make_batch(session, candidates_per_prompt=max(2, len(texts)))
    prompt = make_prompt(session, batch, state=PromptState.READY)
    prompt.reference = reference
    for name, value in values.items():
        setattr(prompt, name, value)
    comparison = make_comparison(session, prompt=prompt, texts=texts or ("It is 42.", "It is 41."))
    orders.order_responses(session, prompt.id)
    session.commit()
    return comparison


def holds(text: str) -> list[Found]:
    """Whether the answer is in the text, as the trivial verifier has it."""
    if "unsure" in text:
        return [found(None, "could not be read")]
    return [found("42" in text, "1 of 1 tests" if "42" in text else "42 wanted", evidence={"wanted": "42"})]


def check_all(say: Say = holds) -> int:
    """Make every check that waits, as a worker would; returns how many there were."""
    count = 0
    while True:
        with session_scope() as session:
            claim = service.claim(session)
            if claim is None:
                return count
            work = service.work_of(session, claim)
            assert service.record(session, claim, "0" * 64, say(work.case["response"]))
            count += 1


def submit(
    session: Session, user: User, item: Assignment, *, edited_text: str | None = None, corrects: int | None = None
) -> Annotation:
    """The first response that was shown is better; ``edited_text`` is how."""
    session.refresh(item)
    submission = Submission(
        fencing_token=item.fencing_token,
        outcome=Outcome.RANKED,
        ranking=[["A"], ["B"]],
        strengths=[3],
        edited_text=edited_text,
        corrects=corrects,
    )
    recorded = recording.submit(session, user, item.id, submission, key=secrets.token_hex(16))
    session.commit()
    return session.get_one(Annotation, recorded.id)


def states(session: Session) -> dict[str, int]:
    """Checks by state."""
    rows = session.execute(select(Check.state, func.count()).group_by(Check.state))
    return {state.value: count for state, count in rows}


def standing(session: Session) -> list[tuple[str, bool | None, str]]:
    """What the findings say that stand, in the order of their checks."""
    query = select(Finding.verifier, Finding.passed, Finding.message).join(Check, STANDS).order_by(Check.id, Finding.id)
    return [(verifier, passed, message) for verifier, passed, message in session.execute(query)]


def checks_of(session: Session, prompt: Prompt) -> list[Check]:
    """The checks of a prompt's responses."""
    return list(session.scalars(select(Check).where(Check.prompt_id == prompt.id).order_by(Check.id)))


ENDED = (CheckState.DONE, CheckState.FAILED)
