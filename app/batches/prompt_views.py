"""HTML of a single prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from app.accounts.access import Admin, Reviewer
from app.accounts.models import Role
from app.batches import withdrawing
from app.batches.queries import CandidateView, came_with_responses, candidates_of
from app.kernel.chat_templates import in_service
from app.kernel.db import DbSession
from app.kernel.locales import gettext as _
from app.prompts import queries, service
from app.prompts.models import Batch, Prompt
from app.prompts.reach import warnings_of
from app.shell.web import redirect, render

router = APIRouter()


@dataclass(frozen=True)
class PromptPage:
    """Context of ``prompts/prompt.html``."""

    prompt: Prompt
    batch: Batch
    messages: list[dict[str, str]]
    attachments: list[tuple[str, str, bool]]
    """What came with it: its name, the text, and whether that is code."""
    candidates: list[CandidateView]
    may_write: bool
    unseen: list[str]


@router.get("/prompts/{prompt_id}")
def prompt_page(request: Request, session: DbSession, user: Reviewer, prompt_id: int) -> HTMLResponse:
    """One prompt with everything that came with it, and its responses."""
    prompt = queries.access_prompt(session, user, prompt_id)
    context = PromptPage(
        prompt=prompt,
        batch=prompt.batch,
        messages=[_said(message) for message in prompt.messages],
        attachments=_attachments(prompt, whole=user.role is Role.ADMIN or not came_with_responses(session, prompt)),
        candidates=candidates_of(session, user, prompt),
        may_write=user.role is Role.ADMIN,
        unseen=warnings_of(in_service(), prompt),
    )
    return render(request, "prompts/prompt.html", context)


@router.post("/prompts/{prompt_id}/retry")
def retry_prompt(request: Request, session: DbSession, user: Admin, prompt_id: int) -> Response:
    """Try one quarantined prompt again."""
    prompt = queries.access_prompt(session, user, prompt_id)
    count = service.retry_quarantined(session, user, prompt.batch, prompt.id)
    said = _("The prompt will be tried again.") if count else _("The prompt is no longer quarantined.")
    return redirect(request, f"/batches/{prompt.batch_id}", flash=said)


@router.post("/prompts/{prompt_id}/withdraw")
def withdraw_prompt(request: Request, session: DbSession, user: Admin, prompt_id: int) -> Response:
    """Take one prompt out of its batch."""
    prompt = queries.access_prompt(session, user, prompt_id)
    withdrawing.withdraw(session, user, prompt)
    return redirect(request, f"/prompts/{prompt.id}", flash=_("Withdrawn: nobody is given this prompt."))


@router.post("/prompts/{prompt_id}/restore")
def restore_prompt(request: Request, session: DbSession, user: Admin, prompt_id: int) -> Response:
    """Put a withdrawn prompt back."""
    prompt = queries.access_prompt(session, user, prompt_id)
    withdrawing.restore(session, user, prompt)
    return redirect(request, f"/prompts/{prompt.id}", flash=_("Restored: the prompt is part of its batch again."))


def _said(message: dict[str, Any]) -> dict[str, str]:
    calls = {"calls": _pretty(message["tool_calls"])} if message.get("tool_calls") else {}
    return {"role": message["role"], "content": message["content"], **calls}


def _attachments(prompt: Prompt, *, whole: bool) -> list[tuple[str, str, bool]]:
    """What came with a prompt, as text: tools and the like as they were sent, indented.

    Not ``whole``, without its metadata: where responses came with it, that may say who wrote them and which is better.
    """
    came = [
        (_("Reference"), prompt.reference, False),
        (_("Tools"), prompt.tools, True),
        (_("Tests"), prompt.tests, True),
    ]
    if whole:
        came.append((_("Metadata"), prompt.extra, True))
    return [(label, each if isinstance(each, str) else _pretty(each), code) for label, each, code in came if each]


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
