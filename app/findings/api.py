"""JSON of checks and findings: counts and conflicts for reviewers, all findings for admins, one's own edit for annotators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.accounts.access import ApiAdmin, ApiReviewer, ApiSignedIn
from app.accounts.idempotency import TAKES_KEY, once
from app.findings import judging, orders, queries
from app.findings.forms import (
    CheckedAgain,
    ConflictList,
    ConflictOut,
    EditCheck,
    EditFinding,
    EditIn,
    FindingList,
    FindingOut,
    JudgeOut,
    LabelIn,
    LabellingOut,
    NextLabelling,
    PreferredOut,
    TallyList,
    TallyOut,
)
from app.findings.models import Check
from app.kernel.db import DbSession
from app.kernel.errors import NotFound
from app.kernel.locales import gettext as _
from app.kernel.paging import LARGEST, Cursor, Limit
from app.prompts.queries import access_batch

router = APIRouter(tags=["checks"])

Id = Annotated[int | None, Query(ge=0, le=LARGEST)]


@router.get("/checks")
def counts(session: DbSession, _: ApiReviewer, batch_id: Id = None) -> TallyList:
    """Findings by verifier and capability, of all batches or of one."""
    names = TallyOut.model_fields
    rows = queries.tallies(session, batch_id)
    return TallyList(counts=[TallyOut(**{name: getattr(row, name) for name in names}) for row in rows])


@router.get("/checks/conflicts")
def conflicts(
    session: DbSession, user: ApiReviewer, batch_id: Id = None, before: Cursor = None, limit: Limit = 25
) -> ConflictList:
    """Annotations that rank a response above another that passes a check it fails, newest first."""
    page = queries.conflicts(session, user, batch_id=batch_id, before=before, limit=limit)
    rows = [
        ConflictOut(
            annotation_id=row.id,
            batch=row.batch_name,
            prompt=row.external_id,
            annotator=row.annotator,
            preferred=[
                PreferredOut(verifier=one.verifier, above=one.above, why=one.why, below=one.below)
                for one in row.preferred
            ],
        )
        for row in page.rows
    ]
    return ConflictList(annotations=rows, next=page.next)


@router.get("/checks/judge")
def judge(session: DbSession, _: ApiReviewer) -> JudgeOut:
    """The judge of facts, how far it agrees with people, and whether its verdicts count."""
    return _judge(session)


@router.get("/checks/facts")
def next_answer(session: DbSession, user: ApiReviewer) -> NextLabelling:
    """The next answer to label. Who is shown it is not given its prompt to judge any more."""
    found = judging.next_unlabelled(session, user)
    return NextLabelling(answer=LabellingOut(**asdict(found)) if found else None)


@router.post("/findings/{finding_id}/label", response_model=JudgeOut, dependencies=[TAKES_KEY])
def label(request: Request, session: DbSession, user: ApiReviewer, finding_id: int, said: LabelIn) -> Response:
    """Say whether an answer agrees with its source; the latest word on it counts."""

    def work() -> JudgeOut:
        judging.label(session, user, finding_id, said.verdict)
        return _judge(session)

    return once(session, user, request, said.model_dump_json().encode(), work)


def _judge(session: DbSession) -> JudgeOut:
    found = judging.standing(session)
    if found is None:
        return JudgeOut(judge=None, agreed=0, labels=0, low=0.0, high=1.0, admitted=False)
    low, high = found.interval
    return JudgeOut(
        judge=found.judge, agreed=found.agreed, labels=found.labels, low=low, high=high, admitted=found.admitted
    )


@router.get("/batches/{batch_id}/findings")
def findings(
    session: DbSession, user: ApiAdmin, batch_id: int, before: Cursor = None, limit: Limit = 25
) -> FindingList:
    """The findings that stand in a batch, newest first, with the ids of candidates."""
    page = queries.findings_of_batch(session, access_batch(session, user, batch_id), before=before, limit=limit)
    names = FindingOut.model_fields
    rows = [FindingOut(**{name: getattr(row, name) for name in names}) for row in page.rows]
    return FindingList(findings=rows, next=page.next)


@router.post("/batches/{batch_id}/check-again", response_model=CheckedAgain, dependencies=[TAKES_KEY])
def check_again(request: Request, session: DbSession, user: ApiAdmin, batch_id: int) -> Response:
    """Check a batch's responses that could not be checked, or never were."""
    batch = access_batch(session, user, batch_id)

    def work() -> CheckedAgain:
        return CheckedAgain(checks=orders.check_again(session, user, batch))

    return once(session, user, request, b"", work)


@router.post("/assignments/{assignment_id}/check")
def check_edit(session: DbSession, user: ApiSignedIn, assignment_id: int, edit: EditIn) -> EditCheck:
    """Check an edit before it is submitted. Sending the text of the latest check again returns that check."""
    return _of(orders.order_draft(session, user, assignment_id, edit.text))


@router.get("/assignments/{assignment_id}/check")
def checked_edit(session: DbSession, user: ApiSignedIn, assignment_id: int) -> EditCheck:
    """The state of the latest check of an edit; 404 before the first one."""
    queries.written(session, user, assignment_id)
    latest = orders.latest_draft(session, assignment_id)
    if latest is None:
        raise NotFound(_("Nothing of this item is being checked, or its edit has been submitted."))
    return _of(latest)


def _of(check: Check) -> EditCheck:
    shown = queries.shown_of_draft(check)
    names = EditFinding.model_fields
    found = [EditFinding(**{name: getattr(chip, name) for name in names}) for chip in shown.chips]
    return EditCheck(waiting=shown.waiting, findings=found)
