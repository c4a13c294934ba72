"""Reads of prompts. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, cast, func, select
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.prompts.models import Batch, BatchState, Prompt, PromptState, Upload

STAFF = frozenset({Role.ADMIN, Role.REVIEWER})
SPECIAL = '$[*] ? (@.content.type() != "string" || exists(@.keyvalue() ? (@.key != "role" && @.key != "content")))'
"""A message with more than a role and a text."""


# ── Loaders ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def access_upload(session: Session, user: User, upload_id: int) -> Upload:
    """An upload under preview, for admins."""
    upload = session.get(Upload, upload_id) if user.role is Role.ADMIN else None
    if upload is None:
        raise NotFound
    return upload


def access_batch(session: Session, user: User, batch_id: int) -> Batch:
    """A batch: any for admins and reviewers, an open one for annotators."""
    batch = session.get(Batch, batch_id)
    if batch is None or (user.role not in STAFF and batch.state is not BatchState.OPEN):
        raise NotFound
    return batch


def access_prompt(session: Session, user: User, prompt_id: int) -> Prompt:
    """A prompt with its batch, for admins and reviewers: annotators see prompts only through an assignment."""
    allowed = user.role in STAFF
    prompt = session.get(Prompt, prompt_id, options=[joinedload(Prompt.batch)]) if allowed else None
    if prompt is None:
        raise NotFound
    return prompt


def special_prompts(
    session: Session,
) -> Iterator[Row[tuple[int, list[dict[str, Any]], list[Any] | None, bytes, int | None]]]:
    """Prompts with a message that has more than a role and a text, by id: names, and what tools were asked and said."""
    columns = select(Prompt.id, Prompt.messages, Prompt.tools, Prompt.content_hash, Prompt.dialogue_id)
    query = columns.where(func.jsonb_path_exists(Prompt.messages, cast(SPECIAL, JSONPATH))).order_by(Prompt.id)
    yield from session.execute(query, execution_options={"yield_per": 500})


def batch_of_file(session: Session, sha256: str) -> Batch | None:
    """The latest batch that was made of the very same file, to warn of importing it twice."""
    query = (
        select(Batch)
        .join(Upload, Upload.batch_id == Batch.id)
        .where(Upload.sha256 == sha256)
        .order_by(Batch.id.desc())
        .limit(1)
    )
    return session.scalar(query)


def unseen_at_import(session: Session, batch: Batch) -> dict[str, Any]:
    """``unseen`` and ``unit`` of the report on the file that ``batch`` was made of; nothing where there was none."""
    kept = select(Upload.report["unseen"], Upload.report["unit"]).where(Upload.batch_id == batch.id)
    unseen, unit = session.execute(kept).one_or_none() or (None, None)
    return {"unseen": unseen or [], "unit": unit}


# ── Pages, by key: a page costs the same wherever it lies ────────────────────────────────────────────────────────────
def list_batches(session: Session, *, before: int | None = None, limit: int = 25) -> Page[Batch]:
    """Batches, newest first."""
    return read_page(session, select(Batch), Order(Batch.id), before, limit)


def list_prompts(
    session: Session, batch: Batch, *, state: PromptState | None = None, after: int | None = None, limit: int = 25
) -> Page[Prompt]:
    """Prompts of ``batch`` in the order of the file, perhaps only those in ``state``."""
    query = select(Prompt).where(Prompt.batch_id == batch.id)
    if state is not None:
        query = query.where(Prompt.state == state)
    return read_page(session, query, Order(Prompt.id, oldest_first=True), after, limit)


def unconfirmed_uploads(session: Session, *, limit: int = 10) -> list[Upload]:
    """Files waiting to be confirmed or discarded, newest first; without their bytes."""
    return list(
        session.scalars(select(Upload).where(Upload.batch_id.is_(None)).order_by(Upload.id.desc()).limit(limit))
    )
