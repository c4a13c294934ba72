"""Asking the model to revise: the annotator says what to change, the newest policy writes, and both are kept.

Every revision is stored with the feedback that it answers, whether it is used or not. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import User
from app.annotations.forms import POSITIONS, RevisionRequest
from app.annotations.models import AssignmentState, Comparison, Revision
from app.annotations.recording import lock
from app.candidates import live
from app.candidates.models import LiveGeneration, LiveKind
from app.errors import BadInput, Conflict, Unavailable
from app.prompts.models import Batch, BatchState, EditPolicy, Prompt
from app.registry.models import CheckpointKind, Deployment
from app.registry.service import rotation

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
    at = POSITIONS.index(wanted.position)
    if at >= len(held.order_shown):
        raise BadInput(f"Response {wanted.position} is not in this comparison.")
    if locked.edit_policy is EditPolicy.NONE:
        raise BadInput("This batch takes no edits, so there is nothing to revise for.")
    if held.state not in {AssignmentState.ACTIVE, AssignmentState.RELEASED, AssignmentState.SUBMITTED}:
        raise Conflict(f"This item is {held.state} already.")
    if locked.batch_state is not BatchState.OPEN:
        raise Conflict(f"This batch is {locked.batch_state}: nothing is written for it now.")
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
        deployment=_newest(rotation(session)),
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
        candidate_id=held.order_shown[at],
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


def _newest(deployments: Sequence[Deployment]) -> Deployment:
    """The policy that came last into the rotation, else the base."""
    if not deployments:
        raise Unavailable(
            "No model is loaded at the moment: edit the text yourself, or try again later.", retry_after=30
        )
    return max(
        deployments, key=lambda each: (each.checkpoint.kind is not CheckpointKind.BASE, each.checkpoint_id, -each.id)
    )
