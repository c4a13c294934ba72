"""Asking the model to revise: the annotator says what to change, the champion writes, and both are kept.

Every revision is stored with the feedback that it answers, whether it is used or not. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.annotations.forms import RevisionRequest
from app.annotations.models import Revision
from app.annotations.recording import lock, over
from app.candidates import live
from app.candidates.models import LiveGeneration, LiveKind
from app.comparisons.models import AssignmentState, Comparison
from app.judgements.positions import ids_by_position
from app.judgements.vocabulary import EditPolicy
from app.kernel.errors import BadInput, Conflict, Unavailable
from app.kernel.locales import gettext as _
from app.prompts.models import Batch, BatchState, Prompt
from app.registry.models import Deployment
from app.registry.service import serving

REVISE = (
    "Please revise your last answer. Feedback: {feedback}\n\n"
    "Write the whole revised answer and nothing else: no introduction and no remark about what you changed."
)
"""What the model is told; the words are ours."""


def ask(session: Session, user: User, assignment_id: int, wanted: RevisionRequest) -> Revision:
    """Have a response revised, in the background. The same ``request_key`` gives the same revision again.

    Raises:
        BadInput: there is no such response, the batch takes no edits, or the key was used for another request.
        Conflict: the item is no longer in work.
        TooMany: the quota is used up.
        Unavailable: no model can be asked now.
    """
    locked = lock(session, user, assignment_id)
    held = locked.assignment
    candidate_id = ids_by_position(held.order_shown).get(wanted.position)
    if candidate_id is None:
        raise BadInput(_("Response {name} is not in this comparison.", name=wanted.position))
    if locked.edit_policy is EditPolicy.NONE:
        raise BadInput(_("This batch does not allow edits, so the model cannot revise responses."))
    if held.state not in {AssignmentState.ACTIVE, AssignmentState.RELEASED, AssignmentState.SUBMITTED}:
        raise Conflict(over(held.state))
    if locked.batch_state is not BatchState.OPEN:
        raise Conflict(
            _("This batch is paused: no text is generated for it now.")
            if locked.batch_state is BatchState.PAUSED
            else _("This batch is closed: no text is generated for it now.")
        )
    prompt, batch = session.execute(
        select(Prompt, Batch)
        .join(Comparison, Comparison.prompt_id == Prompt.id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .where(Comparison.id == held.comparison_id)
    ).one()
    generation = live.request(
        session,
        user,
        prompt_id=prompt.id,
        kind=LiveKind.REVISION,
        messages=conversation(prompt.messages, wanted.source_text, wanted.feedback),
        deployment=_writer(session),
        max_tokens=max(batch.max_tokens, len(wanted.source_text) // 2),
        request_key=f"revision:{wanted.request_key}",
        asked=[held.id, wanted.position, wanted.source_text, wanted.feedback],
        sampling=batch.sampling,
    )
    earlier = session.scalars(select(Revision).where(Revision.generation_id == generation.id)).one_or_none()
    if earlier is not None:
        return earlier
    revision = Revision(
        assignment_id=held.id,
        candidate_id=candidate_id,
        feedback=wanted.feedback,
        source_text=wanted.source_text,
        generation_id=generation.id,
    )
    session.add(revision)
    session.flush()
    return revision


def conversation(messages: Sequence[dict[str, Any]], source_text: str, feedback: str) -> list[dict[str, Any]]:
    """The prompt, the text as the model's own answer, and what the annotator wants of it."""
    return [
        *messages,
        {"role": "assistant", "content": source_text},
        {"role": "user", "content": REVISE.format(feedback=feedback)},
    ]


def of_assignment(session: Session, assignment_id: int) -> Sequence[Revision]:
    """All revisions of an item, oldest first, with what was written; the caller has checked the assignment."""
    return session.scalars(
        select(Revision)
        .where(Revision.assignment_id == assignment_id)
        .options(joinedload(Revision.generation).load_only(LiveGeneration.state, LiveGeneration.text))
        .order_by(Revision.id)
    ).all()


def _writer(session: Session) -> Deployment:
    """The champion; while the engine does not have it the one before or the base, because somebody waits."""
    writer = serving(session).writer
    if writer is None:
        raise Unavailable(
            _("No model is loaded right now: edit the text yourself, or try again later."), retry_after=30
        )
    return writer
