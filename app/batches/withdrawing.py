"""Taking a prompt out of a batch before anybody has judged it, and putting it back.

Nothing is deleted: its responses, what was skipped of it and drafts stay, and so do the hashes by which the batch knows it. What
people have judged is retracted instead (:mod:`app.lineage`), because exports and trainings may have it.
"""

from __future__ import annotations

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.comparisons import purposes
from app.comparisons.models import KNOWN_ANSWER_IN_USE, ChoiceAwaited, Comparison
from app.comparisons.service import ask_for_answers, await_choice, distinct_candidates, seats_of
from app.kernel.errors import Conflict
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.models import Batch, BatchState, BatchTask, Prompt, PromptState

JUDGED = N_(
    "People have judged this prompt, so it stays. To take what they said out of exports and trainings, retract it: "
    "“Retract…” on the page of its batch."
)
HELD = N_(
    "Somebody has this prompt open at this moment. Withdraw it once they have skipped it or their time has run out; if they "
    "submit, it stays."
)
KNOWN = N_("This prompt has a known answer that is in use: retire the known answer first, under Review.")
TURN = N_("This is a turn of a dialogue, whose author judges it: retract the dialogue's annotations instead.")
CLOSED = N_("This batch is closed, and closing is final: import this prompt in a new batch.")


def withdraw(session: Session, user: User, prompt: Prompt) -> None:
    """Nothing more is generated for ``prompt`` and nobody is given it. Withdrawn already, it stays so.

    What a worker generates for it at this moment is dropped.

    Raises:
        Conflict: somebody has judged it or is judging it, its answer is known, or it is a turn of a dialogue.
    """
    session.refresh(prompt, with_for_update={"key_share": True, "of": Prompt})
    if prompt.state is PromptState.WITHDRAWN:
        return
    if prompt.dialogue_id is not None:
        raise Conflict(_(TURN))
    _check_untouched(session, prompt)
    session.execute(
        update(Comparison)
        .where(Comparison.prompt_id == prompt.id, purposes.is_asked_for)
        .values(annotators_wanted=0, seats_free=0)
        .execution_options(synchronize_session="fetch")
    )
    session.execute(delete(ChoiceAwaited).where(ChoiceAwaited.prompt_id == prompt.id))
    audit(session, user, "prompt.withdraw", "prompt", prompt.id, before=prompt.state.value, batch=prompt.batch_id)
    prompt.state, prompt.lease_until = PromptState.WITHDRAWN, None
    session.flush()


def _check_untouched(session: Session, prompt: Prompt) -> None:
    """Whoever claims one of its items waits here, or has it and is seen."""
    items = select(Comparison.annotators_wanted, Comparison.annotators_done, Comparison.seats_free, KNOWN_ANSWER_IN_USE)
    found = session.execute(items.where(Comparison.prompt_id == prompt.id).order_by(Comparison.id).with_for_update())
    for wanted, done, free, known in found:
        if known:
            raise Conflict(_(KNOWN))
        if done:
            raise Conflict(_(JUDGED))
        if free < wanted:
            raise Conflict(_(HELD))


def restore(session: Session, user: User, prompt: Prompt) -> None:
    """Put a withdrawn prompt back: what was ready is given out again, and the rest waits for responses.

    Raises:
        Conflict: the batch is closed.
    """
    session.refresh(prompt, with_for_update={"key_share": True, "of": Prompt})
    if prompt.state is not PromptState.WITHDRAWN:
        return
    batch = session.get_one(Batch, prompt.batch_id)
    session.refresh(batch, with_for_update={"key_share": True})
    if batch.state is BatchState.CLOSED:
        raise Conflict(_(CLOSED))
    prompt.state = _put_back(session, batch, prompt)
    prompt.attempts, prompt.last_error, prompt.next_try_at = 0, None, session.scalars(select(func.now())).one()
    batch.times_extended += 1
    audit(session, user, "prompt.restore", "prompt", prompt.id, after=prompt.state.value, batch=batch.id)
    session.flush()
    enqueue(session, Job.CHOOSE_PAIRS if prompt.state is PromptState.READY else Job.GENERATE)


def _put_back(session: Session, batch: Batch, prompt: Prompt) -> PromptState:
    wanted = seats_of(session, batch, prompt)
    again = (
        update(Comparison)
        .where(Comparison.prompt_id == prompt.id, purposes.is_asked_for)
        .values(annotators_wanted=wanted, seats_free=wanted)
        .execution_options(synchronize_session="fetch")
        .returning(Comparison.id)
    )
    if session.execute(again).all():
        return PromptState.READY
    if batch.task is BatchTask.WRITE:
        ask_for_answers(session, batch, prompt.id - 1)
        return PromptState.READY
    if batch.task is BatchTask.COMPARE and len(distinct_candidates(session, prompt.id)) > 1:
        await_choice(session, prompt)  # it was sampled to be chosen from, and nobody had chosen yet
        return PromptState.READY
    return PromptState.PENDING
