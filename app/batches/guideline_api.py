"""JSON of guidelines: what they say, and that they were read. ``PATCH /batches/{id}`` changes them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.accounts.access import ApiSignedIn
from app.accounts.idempotency import TAKES_KEY, once
from app.batches.queries import access_guidelines
from app.kernel.db import DbSession
from app.prompts import guidelines

router = APIRouter(tags=["batches"])


class GuidelinesJson(BaseModel):
    """The current guidelines of a batch, in Markdown."""

    version: int = Field(examples=[3])
    guidelines: str = Field(examples=["Prefer the answer that is right, then the shorter one."])
    strength_examples: dict[str, str] = Field(
        examples=[{"4": "The other answer is wrong."}], description="By strength, from 4 down to 1."
    )
    changed_since: int | None = Field(
        examples=[None], description="The version that you read, where the current one is another."
    )


@router.get("/batches/{batch_id}/guidelines")
def get_guidelines(session: DbSession, user: ApiSignedIn, batch_id: int) -> GuidelinesJson:
    """What the guidelines of a batch say now."""
    batch = access_guidelines(session, user, batch_id)
    changed = guidelines.changed(session, user, batch.id)
    return GuidelinesJson(
        version=batch.guidelines_version,
        guidelines=batch.guidelines,
        strength_examples=batch.strength_examples,
        changed_since=changed[0] if changed else None,
    )


@router.post("/batches/{batch_id}/guidelines/read", status_code=204, dependencies=[TAKES_KEY])
def read_guidelines(request: Request, session: DbSession, user: ApiSignedIn, batch_id: int) -> Response:
    """Note that you know the current guidelines."""
    batch = access_guidelines(session, user, batch_id)
    return once(session, user, request, b"", lambda: guidelines.mark_read(session, user, batch), status=204)
