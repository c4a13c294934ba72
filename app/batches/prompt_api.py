"""JSON of the prompts of a batch, for reviewers and admins."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.accounts.access import ApiAdmin, ApiReviewer
from app.accounts.idempotency import TAKES_KEY, once
from app.batches import withdrawing
from app.batches.queries import candidates_of
from app.batches.which import Wanted
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.prompts import queries, service
from app.prompts.models import Batch, Prompt, PromptState
from app.prompts.origins import Origin

router = APIRouter(tags=["batches"])


class PromptJson(BaseModel):
    """A prompt, without its responses."""

    id: int = Field(examples=[41])
    source_id: str = Field(examples=["row-7"], description="The `id` in the imported file, or its line.")
    state: PromptState = Field(examples=["ready"])
    origin: Origin = Field(examples=["synthetic"])
    language: str | None = Field(
        examples=["de"], description="What the file or the batch says, else what was detected."
    )
    language_from: str | None = Field(
        examples=["detected"], description="Who says so: `file`, `batch`, or `detected` by a program."
    )
    capability: str | None = Field(examples=["maths"])
    text: str = Field(examples=["What is 17 + 4?"], description="The last message, which is the user's.")

    @classmethod
    def of(cls, prompt: Prompt, batch: Batch) -> PromptJson:
        """The prompt, as it stands in its batch."""
        said = {"file": prompt.language, "batch": batch.language, "detected": prompt.language_detected or None}
        source = next((name for name, code in said.items() if code is not None), None)
        return cls(
            id=prompt.id,
            source_id=prompt.external_id,
            state=prompt.state,
            origin=prompt.origin,
            language=said[source] if source else None,
            language_from=source,
            capability=prompt.capability or batch.capability,
            text=prompt.messages[-1]["content"],
        )


class PromptList(BaseModel):
    """A page of prompts in the order of their file; ``next`` is the ``after`` of the page that follows."""

    prompts: list[PromptJson]
    next: int | None = Field(examples=[None])


@router.get("/batches/{batch_id:int}/prompts")
def list_prompts(
    session: DbSession, user: ApiReviewer, batch_id: int, which: Wanted, after: Cursor = None, limit: Limit = 25
) -> PromptList:
    """The prompts of a batch, all or some by state, origin and language."""
    batch = queries.access_batch(session, user, batch_id)
    page = queries.list_prompts(session, batch, which, after=after, limit=limit)
    return PromptList(prompts=[PromptJson.of(each, batch) for each in page.rows], next=page.next)


class CandidateJson(BaseModel):
    """A response. All but its text and the calls before it is null for everyone but admins: others may yet judge it."""

    model_config = ConfigDict(from_attributes=True)

    text: str = Field(examples=["21"])
    trace: list[dict[str, Any]] = Field(examples=[[]], description="The calls of tools before it, with their results.")
    checkpoint: str | None = Field(examples=["policy-r1-a1b2c3d4"])
    sampling: dict[str, Any] | None = Field(examples=[{"temperature": 0.8}])
    finish_reason: str | None = Field(examples=["stop"])
    completion_tokens: int | None = Field(examples=[2])


class PromptDetail(PromptJson):
    """A prompt with everything that came with it, and its responses."""

    batch_id: int = Field(examples=[4])
    messages: list[dict[str, Any]] = Field(examples=[[{"role": "user", "content": "What is 17 + 4?"}]])
    tools: list[Any] | None = Field(examples=[None])
    reference: str | None = Field(examples=["21"])
    tests: Any = Field(examples=[None])
    metadata: dict[str, Any] = Field(examples=[{"topic": "sums"}])
    candidates: list[CandidateJson]


class Retried(BaseModel):
    """How many quarantined prompts get their tries again."""

    prompts: int = Field(examples=[3])


@router.get("/prompts/{prompt_id}")
def get_prompt(session: DbSession, user: ApiReviewer, prompt_id: int) -> PromptDetail:
    """One prompt with its responses: as sampled for admins; for reviewers in an order that says nothing."""
    prompt = queries.access_prompt(session, user, prompt_id)
    return PromptDetail(
        **PromptJson.of(prompt, prompt.batch).model_dump(),
        batch_id=prompt.batch_id,
        messages=prompt.messages,
        tools=prompt.tools,
        reference=prompt.reference,
        tests=prompt.tests,
        metadata=prompt.extra,
        candidates=[CandidateJson.model_validate(each) for each in candidates_of(session, user, prompt)],
    )


@router.post("/prompts/{prompt_id}/retry", response_model=Retried, dependencies=[TAKES_KEY])
def retry_prompt(request: Request, session: DbSession, user: ApiAdmin, prompt_id: int) -> Response:
    """Give a quarantined prompt its tries again; none where it is no longer quarantined."""
    prompt = queries.access_prompt(session, user, prompt_id)
    work = lambda: Retried(prompts=service.retry_quarantined(session, user, prompt.batch, prompt.id))  # noqa: E731
    return once(session, user, request, b"", work)


@router.post("/prompts/{prompt_id}/withdraw", response_model=PromptJson, dependencies=[TAKES_KEY])
def withdraw_prompt(request: Request, session: DbSession, user: ApiAdmin, prompt_id: int) -> Response:
    """Take a prompt out of its batch before anybody has judged it; what people have judged is retracted instead."""
    prompt = queries.access_prompt(session, user, prompt_id)

    def work() -> PromptJson:
        withdrawing.withdraw(session, user, prompt)
        return PromptJson.of(prompt, prompt.batch)

    return once(session, user, request, b"", work)


@router.post("/prompts/{prompt_id}/restore", response_model=PromptJson, dependencies=[TAKES_KEY])
def restore_prompt(request: Request, session: DbSession, user: ApiAdmin, prompt_id: int) -> Response:
    """Put a withdrawn prompt back; one that is not withdrawn stays as it is."""
    prompt = queries.access_prompt(session, user, prompt_id)

    def work() -> PromptJson:
        withdrawing.restore(session, user, prompt)
        return PromptJson.of(prompt, prompt.batch)

    return once(session, user, request, b"", work)


@router.post("/batches/{batch_id}/retry", response_model=Retried, dependencies=[TAKES_KEY])
def retry_batch(request: Request, session: DbSession, user: ApiAdmin, batch_id: int) -> Response:
    """Give all quarantined prompts of a batch their tries again."""
    batch = queries.access_batch(session, user, batch_id)
    work = lambda: Retried(prompts=service.retry_quarantined(session, user, batch))  # noqa: E731
    return once(session, user, request, b"", work)
