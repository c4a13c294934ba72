"""Writes of quality: known answers, reviews, another attempt at a qualification. Nothing here commits."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import User
from app.annotations.models import Annotation, Decision, GoldAnswer, Qualification, Review
from app.comparisons.models import GOLD_SEATS, Assignment, AssignmentState, Comparison, ComparisonCandidate, Purpose
from app.comparisons.purposes import PURPOSES
from app.judgements.vocabulary import Outcome
from app.kernel.errors import Conflict, refused
from app.kernel.locales import gettext as _
from app.prompts.models import Batch, BatchState, Prompt


def make_gold(session: Session, staff: User, annotation: Annotation, explanation: str) -> Comparison:
    """Make what ``annotation`` says the known answer of a new item of the same prompt and responses.

    Raises:
        BadInput: no explanation, or no answer that could be known.
        Conflict: the prompt has one already, or the annotation does not stand.
    """
    if not explanation.strip():
        raise refused("explanation", _("Explain the answer: people learn from the explanation."))
    best = annotation.ranking[0] if annotation.outcome is Outcome.RANKED else []
    if len(best) > 1:
        raise refused("outcome", _("Several responses share the first place, so there is no single known answer."))
    source = session.get_one(Comparison, annotation.comparison_id)
    if not PURPOSES[source.purpose].compares:
        raise refused("outcome", _("Only a collected comparison can be used as a known answer."))
    if session.scalar(select(Prompt.dialogue_id).where(Prompt.id == source.prompt_id)) is not None:
        raise refused(
            "outcome", _("Dialogue turns are only shown to their author, so they cannot be used as known answers.")
        )
    if annotation.superseded_by_id is not None or annotation.withdrawn_at is not None:
        raise Conflict(_("This judgement has since been corrected or undone: use the current one."))
    made = session.scalars(
        insert(Comparison)
        .values(
            batch_id=source.batch_id,
            prompt_id=source.prompt_id,
            purpose=Purpose.GOLD,
            language=source.language,
            annotators_wanted=GOLD_SEATS,
            seats_free=GOLD_SEATS,
            not_for_id=annotation.annotator_id,
        )
        .on_conflict_do_nothing()
        .returning(Comparison)
    ).one_or_none()
    if made is None:
        raise Conflict(_("This prompt already has a known answer. If it is retired, restore it."))
    shown = [{"comparison_id": made.id, "candidate_id": each} for each in annotation.order_shown]
    session.execute(insert(ComparisonCandidate), shown)
    session.add(
        GoldAnswer(
            comparison_id=made.id,
            outcome=annotation.outcome,
            best_candidate_id=best[0] if best else None,
            explanation=explanation.strip(),
            from_annotation_id=annotation.id,
            written_by_id=staff.id,
        )
    )
    session.flush()
    accounts.audit(session, staff, "gold.make", "comparison", made.id, annotation=annotation.id)
    return made


def set_gold(session: Session, staff: User, item: Comparison, *, retired: bool) -> None:
    """Give an item with a known answer to nobody any more, or to everybody again. Who has begun it may finish."""
    session.execute(select(Comparison.id).where(Comparison.id == item.id).with_for_update())
    at_work = (
        select(func.count())
        .where(Assignment.comparison_id == item.id, Assignment.state == AssignmentState.ACTIVE)
        .scalar_subquery()
    )
    taken = Comparison.annotators_done + at_work
    values = (
        {"annotators_wanted": func.greatest(taken, 1), "seats_free": 0}
        if retired
        else {"annotators_wanted": GOLD_SEATS, "seats_free": GOLD_SEATS - taken}
    )
    session.execute(update(Comparison).where(Comparison.id == item.id).values(values))
    accounts.audit(session, staff, "gold.retire" if retired else "gold.restore", "comparison", item.id)


def review(session: Session, staff: User, annotation: Annotation, verdict: Decision, note: str = "") -> Review:
    """A reviewer's word on a standing annotation. Returned, it waits for its annotator to correct it.

    Raises:
        BadInput: returned without a note.
        Conflict: it does not stand any more, its batch is closed and it cannot be corrected, or it is their own.
    """
    if verdict is Decision.ACCEPTED and annotation.annotator_id == staff.id:
        raise Conflict(_("This is your own judgement: somebody else must accept it."))
    if annotation.superseded_by_id is not None or annotation.withdrawn_at is not None:
        raise Conflict(_("This judgement has since been corrected or undone: review the current one."))
    if annotation.retraction_id is not None:
        raise Conflict(_("This judgement was retracted by an admin: it is no longer used, and nobody can correct it."))
    if verdict is Decision.RETURNED:
        if not note.strip():
            raise refused("note", _("Write what to look at again."))
        state = session.scalar(
            select(Batch.state)
            .join(Comparison, Comparison.batch_id == Batch.id)
            .where(Comparison.id == annotation.comparison_id)
        )
        if state is BatchState.CLOSED:
            raise Conflict(_("This batch is closed: its annotations can no longer be corrected."))
    made = Review(annotation_id=annotation.id, reviewer_id=staff.id, verdict=verdict, note=note.strip())
    session.add(made)
    session.flush()
    accounts.audit(session, staff, f"annotation.{verdict.value}", "annotation", annotation.id)
    return made


def reset_qualification(session: Session, staff: User, batch: Batch, user_id: int) -> None:
    """Let somebody try a qualification again, with the items that they have not met.

    Raises:
        Conflict: it is not decided, so there is nothing to set back.
    """
    last = session.scalar(select(func.max(Annotation.id)).where(Annotation.annotator_id == user_id)) or 0
    done = session.scalar(
        update(Qualification)
        .where(Qualification.batch_id == batch.id, Qualification.user_id == user_id, Qualification.answered > 0)
        .values(answered=0, correct=0, passed=False, after_annotation_id=last)
        .returning(Qualification.user_id)
        .execution_options(synchronize_session=False)
    )
    if done is None:
        raise Conflict(_("This person has not finished the qualification yet."))
    accounts.audit(session, staff, "qualification.reset", "batch", batch.id, user=user_id)
