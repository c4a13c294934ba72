"""JSON of the prompts of a batch, for reviewers and admins."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.accounts.access import ApiReviewer
from app.batches.which import Wanted
from app.kernel.db import DbSession
from app.kernel.paging import Cursor, Limit
from app.prompts import queries
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
