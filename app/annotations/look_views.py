"""How the judging page of a batch will look while its form is filled in: the page itself with placeholders. Nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy.orm import Session

from app.accounts.access import Admin
from app.annotations.pages import WorkPage, work_page
from app.annotations.queries import Work
from app.annotations.tour_items import EXAMPLES
from app.batches import assigning
from app.batches.assign_form import NOBODY_YET
from app.batches.assigning import Assigned
from app.batches.form_values import file_of, usable, without_prompts
from app.comparisons.models import AssignmentState
from app.kernel.db import DbSession
from app.kernel.errors import AppError, BadInput, NotFound
from app.kernel.locales import gettext as _
from app.kernel.settings import get_settings
from app.prompts import queries, service
from app.prompts.forms import BatchSettings
from app.prompts.intake import BatchForm, Sent
from app.prompts.models import BatchKind, BatchState, BatchTask
from app.prompts.parsing import limits_of, parse
from app.shell.web import render
from app.shell.zones import zone_of

router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class LookPage(WorkPage):
    """Context of ``annotations/_look.html``: a judging page, and what is said of the batch so far."""

    is_example: bool
    """Whether there is no prompt yet, so that one of ours stands in its place."""
    prompts: int
    settings: BatchSettings
    assigned: Assigned
    annotators: int
    problem_of_assigning: str


@router.post("/batches/new/look")
def look(request: Request, session: DbSession, user: Admin, sent: BatchForm) -> HTMLResponse:
    """The first prompt of what the form has so far, as people will see it."""
    settings, report = usable(without_prompts(sent), zone_of(request)), _report(session, user, sent)
    first = report["sample"][0] if report["sample"] else None
    assigned, annotators, problem = NOBODY_YET, 0, ""
    try:
        assigned, annotators = assigning.tried(session, user, settings)
    except AppError as error:
        problem = error.message
    messages = first["messages"] if first else [{"role": "user", "content": _(EXAMPLES[0].prompt)}]
    page = LookPage(
        **vars(work_page(_work(settings, messages, first), preferences=user.preferences)),
        is_example=first is None,
        prompts=report["valid"],
        settings=settings,
        assigned=assigned,
        annotators=annotators,
        problem_of_assigning=problem,
    )
    return render(request, "annotations/_look.html", page)


def _report(session: Session, user: Admin, sent: Sent) -> dict[str, Any]:
    """What is in the file that was looked at, or in the text; nothing where there is neither, or nothing can be read."""
    key = sent.fields.get("upload", "")
    if key:
        if not (key.isascii() and key.isdigit() and len(key) <= 18):
            raise NotFound
        return queries.access_upload(session, user, int(key)).report
    try:
        written = file_of(sent)
        return service.report_of(*parse(written.filename, written.content, limits_of(get_settings())))
    except BadInput:
        return {"sample": [], "valid": 0}


def _work(settings: BatchSettings, messages: list[dict[str, Any]], first: dict[str, Any] | None) -> Work:
    """An item that there is not."""
    now = datetime.now(UTC)
    return Work(
        id=0,
        state=AssignmentState.ACTIVE,
        fencing_token=0,
        lease_until=now,
        lease_seconds=0,
        draft=None,
        draft_version=0,
        batch_id=0,
        batch_name=settings.name,
        batch_state=BatchState.PREPARING,
        deadline=settings.deadline,
        guidelines=settings.guidelines,
        edit_policy=settings.edit_policy,
        kind=BatchKind.PROMPTS,
        task=settings.task,
        attributes=[each.model_dump() for each in settings.attributes],
        strength_examples={str(level): text for level, text in settings.strength_examples.items()},
        guidelines_version=1,
        prompt_id=0,
        dialogue_id=None,
        messages=messages,
        tools=None,
        capability=first["capability"] if first else None,
        texts=_texts(settings),
        cut=None,
        show_findings=settings.show_findings,
    )


def _texts(settings: BatchSettings) -> list[str]:
    if settings.task is BatchTask.WRITE:
        return []
    if settings.task is BatchTask.STEPS:
        return ["\n\n".join(_("Step {n} of a response.", n=step) for step in (1, 2, 3))]
    return [
        _("A response to this prompt will stand here; this text only holds its place.")
        for _place in range(settings.candidates_per_prompt)
    ]
