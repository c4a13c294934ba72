"""Reads of prompts. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, Row, cast, false, func, select, text
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.prompts.models import LANGUAGE, LANGUAGE_FROM, Batch, BatchState, Prompt, PromptState, Upload
from app.prompts.origins import Origin

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


@dataclass(frozen=True)
class Which:
    """Which prompts of a batch are listed; None means all."""

    state: PromptState | None = None
    origin: Origin | None = None
    language: str | None = None
    """A code, said or detected; ``unknown`` where nobody knows."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """As conditions on prompts, joined with their batch."""
        found: list[ColumnElement[bool]] = []
        if self.state is not None:
            found.append(Prompt.state == self.state)
        if self.origin is not None:
            found.append(Prompt.origin == self.origin)
        if self.language is not None:
            found.append(func.coalesce(LANGUAGE, UNKNOWN) == self.language)
        return found

    def address(self, **more: object) -> str:
        """The query string of a page that lists these, with ``more`` in it."""
        given = {"state": self.state, "origin": self.origin, "language": self.language} | more
        return urlencode({key: str(value) for key, value in given.items() if value is not None})


UNKNOWN = "unknown"
ALL = Which()


@dataclass(frozen=True)
class Share:
    """Prompts of a batch that come from one place and are in one language."""

    origin: Origin
    language: str
    """A code, or ``unknown``."""
    detected: bool
    """Whether a program says so, and neither file nor batch."""
    prompts: int


def shares(session: Session, batch: Batch) -> list[Share]:
    """The prompts of ``batch`` by origin and language, most first."""
    language, detected = func.coalesce(LANGUAGE, UNKNOWN), func.coalesce(LANGUAGE_FROM == "detected", false())
    query = (
        select(Prompt.origin, language, detected, func.count())
        .join(Batch, Batch.id == Prompt.batch_id)
        .where(Prompt.batch_id == batch.id)
        .group_by(text("1"), text("2"), text("3"))
        .order_by(func.count().desc(), text("1"), text("2"), text("3"))
    )
    return [Share(origin, code or UNKNOWN, said, count) for origin, code, said, count in session.execute(query)]


def list_prompts(
    session: Session, batch: Batch, which: Which = ALL, *, after: int | None = None, limit: int = 25
) -> Page[Prompt]:
    """Prompts of ``batch`` in the order of the file, perhaps only some."""
    query = select(Prompt).join(Batch, Batch.id == Prompt.batch_id).where(Prompt.batch_id == batch.id)
    return read_page(session, query.where(*which.conditions()), Order(Prompt.id, oldest_first=True), after, limit)


def unconfirmed_uploads(session: Session, *, limit: int = 10) -> list[Upload]:
    """Files waiting to be confirmed or discarded, newest first; without their bytes."""
    return list(
        session.scalars(select(Upload).where(Upload.batch_id.is_(None)).order_by(Upload.id.desc()).limit(limit))
    )
