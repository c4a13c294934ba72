"""Orders checks: of a prompt's responses, of an edit on submission, of an edit before submission.

A prompt with nothing to check against (:data:`app.prompts.models.CHECKABLE`) gets no row.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import User
from app.accounts.service import audit
from app.annotations import recording
from app.annotations.models import Annotation
from app.batches import importing
from app.candidates.models import Candidate
from app.comparisons.models import Assignment, AssignmentState, Comparison
from app.dialogues import service as dialogues
from app.findings.judging import by_another
from app.findings.models import STANDS, Check, CheckState, Finding
from app.findings.service import Found, row_of
from app.judgements.vocabulary import ShowFindings
from app.kernel.errors import BadInput, Conflict, NotFound, TooMany
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import gettext as _
from app.kernel.locales import number
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings
from app.prompts.models import CHECKABLE, Batch, Prompt

DRAFTS_KEPT = timedelta(days=1)
LONGEST = 200_000
"""Characters of an edit that is checked before it is submitted."""
_ENDED = (CheckState.DONE, CheckState.FAILED)


def order_responses(session: Session, prompt_id: int) -> int:
    """Have each response of a prompt checked; returns how many checks are new. In the transaction that records them."""
    return _order(session, Prompt.id == prompt_id)


def _order(session: Session, which: Any) -> int:
    ordered = (
        select(Prompt.batch_id, Prompt.id, Candidate.id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .join(Candidate, Candidate.prompt_id == Prompt.id)
        .where(which, CHECKABLE, Candidate.edited_from_id.is_(None))
        .order_by(Candidate.id)
    )
    columns = ["batch_id", "prompt_id", "candidate_id"]
    # a response that has its check keeps it: ordering twice is the same as ordering once
    unmet = ordered.where(~select(Check.id).where(Check.candidate_id == Candidate.id).exists())
    made = session.execute(insert(Check).from_select(columns, unmet).on_conflict_do_nothing().returning(Check.id)).all()
    if made:
        enqueue(session, Job.CHECK)
    return len(made)


def order_edit(session: Session, annotation_id: int) -> None:
    """Have the edit of an annotation checked, in the transaction that records it.

    What was found of the same text before it was submitted is what is found of the edit.
    """
    row = session.execute(
        select(Annotation.assignment_id, Annotation.edited_text, Prompt.id, Prompt.batch_id)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .where(Annotation.id == annotation_id, Annotation.edited_text.is_not(None), CHECKABLE)
    ).one_or_none()
    if row is None:
        return
    assignment_id, edited, prompt_id, batch_id = row
    same = Check.draft == str(edited).replace("\r\n", "\n")
    known = session.scalars(
        select(Check)
        .where(Check.assignment_id == assignment_id, Check.state == CheckState.DONE, same)
        .order_by(Check.id.desc())
        .limit(1)
    ).one_or_none()
    check = Check(batch_id=batch_id, prompt_id=prompt_id, annotation_id=annotation_id)
    if known is not None:
        check.state, check.finished_at, check.found_token = CheckState.DONE, known.finished_at, 0
    session.add(check)
    session.flush()
    if known is not None:
        session.add_all(Finding(**_as_row(check, found)) for found in known.draft_findings)
    else:
        enqueue(session, Job.CHECK)
    session.execute(delete(Check).where(Check.assignment_id == assignment_id))
    session.flush()


def _as_row(check: Check, found: dict[str, Any]) -> dict[str, Any]:
    said = dict(found)
    case_hash = said.pop("case_hash")
    return row_of(check, 0, case_hash, Found(**said))


def order_imported(session: Session, batch_id: int) -> int:
    """Have the responses that a batch came with checked; returns how many checks are new."""
    return _order(session, Prompt.batch_id == batch_id)


importing.AFTER_RESPONSES.append(order_imported)
recording.AFTER_EDIT.append(order_edit)
dialogues.AFTER_ANSWERS.append(order_responses)


def order_draft(session: Session, user: User, assignment_id: int, written: str) -> Check:
    """Have a text checked that an annotator is still writing. The text of the latest check again gives that check.

    Raises:
        NotFound: no such assignment, or somebody else's.
        Conflict: the item is not in work, or there is nothing to check it against.
        BadInput: there is no text, or it is too long.
        TooMany: this annotator has asked for so many within a minute.
    """
    written = written.replace("\r\n", "\n")
    if not written.strip():
        raise BadInput(_("There is nothing to check yet: write the improved text first."))
    if len(written) > LONGEST:
        raise BadInput(
            _(
                "This text has {n} characters; {most} can be checked before submitting.",
                n=number(len(written)),
                most=number(LONGEST),
            )
        )
    row = session.execute(
        select(Prompt.batch_id, Prompt.id, Assignment.state, Assignment.order_shown, Batch.show_findings, CHECKABLE)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .where(Assignment.id == assignment_id, Assignment.annotator_id == user.id)
    ).one_or_none()
    if row is None:
        raise NotFound
    batch_id, prompt_id, state, shown, when, checkable = row
    if state is AssignmentState.SKIPPED:
        raise Conflict(_("You skipped this item, so its edit is no longer checked."))
    if not checkable:
        raise Conflict(_("This prompt came with nothing to check an answer against."))
    if when is ShowFindings.NEVER:
        raise Conflict(_("This batch does not show findings to annotators."))
    texts = session.scalars(select(Candidate.text).where(Candidate.id.in_(shown)))
    if any(each.split() == written.split() for each in texts):  # it would tell what is hidden until submission
        raise BadInput(_("This is an unchanged response. Edit it first, then run the checks."))
    latest = latest_draft(session, assignment_id)
    if latest is not None and latest.draft == written and latest.state is not CheckState.FAILED:
        return latest
    _within_limit(session, user)
    check = Check(
        batch_id=batch_id, prompt_id=prompt_id, assignment_id=assignment_id, draft=written, asked_by_id=user.id
    )
    session.add(check)
    session.flush()
    enqueue(session, Job.CHECK)
    return check


def _within_limit(session: Session, user: User) -> None:
    """One at a time for each person, in the order of the lock; and so many within a minute."""
    wait_for_turn(session, f"checks.asked:{user.id}")
    most = get_settings().edit_checks_per_minute
    within = literal(timedelta(minutes=1))
    asked = session.scalar(
        select(func.count()).where(Check.asked_by_id == user.id, Check.created_at > func.now() - within)
    )
    if (asked or 0) >= most:
        raise TooMany(
            _("You have asked for {n} checks within a minute. Wait a moment, then try again.", n=most), retry_after=20
        )


def latest_draft(session: Session, assignment_id: int) -> Check | None:
    """The latest check of an unsubmitted edit of an assignment."""
    query = select(Check).where(Check.assignment_id == assignment_id).order_by(Check.id.desc()).limit(1)
    return session.scalars(query).one_or_none()


def forget_drafts(session: Session) -> int:
    """Delete checks of texts that were not submitted within a day; returns how many."""
    old = Check.assignment_id.is_not(None) & (Check.created_at < func.now() - literal(DRAFTS_KEPT))
    return len(session.execute(delete(Check).where(old).returning(Check.id)).all())


def check_again(session: Session, user: User, batch: Batch) -> int:
    """Order checks of a batch's texts that have none, could not be checked, or had another judge; returns how many."""
    null = select(Finding.id).where(STANDS, Finding.passed.is_(None)).exists() | by_another(get_settings().judge)
    # the edit of an erased person is blank, which is nothing to check
    erased = select(Annotation.id).where(Annotation.id == Check.annotation_id, Annotation.edited_text == "").exists()
    again = session.execute(
        update(Check)
        .where(Check.batch_id == batch.id, Check.assignment_id.is_(None), Check.state.in_(_ENDED), null, ~erased)
        .values(state=CheckState.PENDING, attempts=0, last_error=None, next_try_at=func.now())
        .returning(Check.id)
        .execution_options(synchronize_session=False)
    ).all()
    count = len(again) + _order(session, Prompt.batch_id == batch.id)
    if count:
        audit(session, user, "batch.check", "batch", batch.id, checks=count)
        enqueue(session, Job.CHECK)
    return count
