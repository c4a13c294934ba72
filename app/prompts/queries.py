"""Reads of prompts. Loaders check the caller: missing and forbidden look the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Row, Select, String, Table, cast, func, select
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session, joinedload

from app.accounts.models import Role, User
from app.db import Base
from app.errors import NotFound
from app.prompts.models import Batch, BatchState, Prompt, PromptState, Upload
from app.settings import get_settings

STAFF = frozenset({Role.ADMIN, Role.REVIEWER})
SPECIAL = '$[*] ? (@.content.type() != "string" || exists(@.keyvalue() ? (@.key != "role" && @.key != "content")))'
"""A message with more than a role and a text."""


def _downstream(name: str) -> Table:
    """A table of a domain above this one, found by name at run time: the import may only go the other way."""
    return Base.metadata.tables[name]


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


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Progress:
    """How far a batch is: prompts by the state of their generation, comparisons, and annotations over all of them."""

    pending: int = 0
    generating: int = 0
    ready: int = 0
    quarantined: int = 0
    comparisons: int = 0
    done: int = 0
    annotations: int = 0
    annotations_wanted: int = 0
    known_answers: int = 0
    """Items whose answer is known and that are given out; they are no work of the batch, and count nowhere else."""

    @property
    def total(self) -> int:
        """All prompts."""
        return self.pending + self.generating + self.ready + self.quarantined

    @property
    def unsettled(self) -> int:
        """Prompts that still wait for candidates."""
        return self.pending + self.generating


def batch_progress(session: Session, batch_ids: Sequence[int]) -> dict[int, Progress]:
    """The progress of each batch."""
    counted: dict[int, dict[str, int]] = {batch_id: {} for batch_id in batch_ids}
    by_state = (
        select(Prompt.batch_id, Prompt.state, func.count())
        .where(Prompt.batch_id.in_(batch_ids))
        .group_by(Prompt.batch_id, Prompt.state)
    )
    for batch_id, state, count in session.execute(by_state):
        counted[batch_id][state.value] = count
    comparisons = _downstream("comparisons").c
    purpose = cast(comparisons.purpose, String)
    collects = purpose == "collect"
    compared = (
        select(
            comparisons.batch_id,
            func.count().filter(collects).label("comparisons"),
            func.count().filter(collects, comparisons.annotators_done >= comparisons.annotators_wanted).label("done"),
            func.coalesce(func.sum(comparisons.annotators_done).filter(collects), 0).label("annotations"),
            func.coalesce(func.sum(comparisons.annotators_wanted).filter(collects), 0).label("annotations_wanted"),
            func.count().filter(purpose == "gold", comparisons.seats_free > 0).label("known_answers"),
        )
        .where(comparisons.batch_id.in_(batch_ids))
        .group_by(comparisons.batch_id)
    )
    for row in session.execute(compared).mappings():
        counted[row["batch_id"]] |= {key: int(row[key]) for key in row if key != "batch_id"}
    return {batch_id: Progress(**counts) for batch_id, counts in counted.items()}


@dataclass(frozen=True)
class EngineView:
    """What the last probe of the engine found."""

    state: str
    error: str | None
    changed_at: datetime

    @property
    def away(self) -> bool:
        """Whether generation waits for it."""
        return self.state == "away"


def engine_view(session: Session) -> EngineView | None:
    """The engine as its last probe found it; None before the first probe."""
    status = _downstream("engine_status").c
    query = select(status.state, status.error, status.changed_at).where(status.url == get_settings().engine_url)
    row = session.execute(query).first()
    return EngineView(str(row.state), row.error, row.changed_at) if row else None


# ── Candidates ───────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class CandidateView:
    """A response of a prompt. All but its text is None for everyone but admins: others may yet judge it."""

    text: str
    finish_reason: str | None
    completion_tokens: int | None
    checkpoint: str | None
    sampling: dict[str, Any] | None


def candidates_of(session: Session, user: User, prompt: Prompt) -> list[CandidateView]:
    """The responses of ``prompt``: as sampled for admins; for reviewers their texts alone, in the order of a hash.

    How a response ended and how many tokens it took tell models apart as well as a name does.
    """
    is_admin = user.role is Role.ADMIN
    candidates, checkpoints = _downstream("candidates").c, _downstream("checkpoints").c
    query = (
        select(
            candidates.text,
            candidates.finish_reason,
            candidates.completion_tokens,
            checkpoints.name.label("checkpoint"),
            candidates.sampling,
        )
        .join_from(_downstream("candidates"), _downstream("checkpoints"), checkpoints.id == candidates.checkpoint_id)
        .where(candidates.prompt_id == prompt.id)
        .order_by(candidates.id if is_admin else func.md5(candidates.text))
    )
    return [
        CandidateView(
            text=row.text,
            finish_reason=row.finish_reason if is_admin else None,
            completion_tokens=row.completion_tokens if is_admin else None,
            checkpoint=row.checkpoint if is_admin else None,
            sampling=row.sampling if is_admin else None,
        )
        for row in session.execute(query)
    ]


def round_numbers(session: Session, round_ids: Collection[int]) -> dict[int, int]:
    """The number of each round, by its id."""
    rounds = _downstream("rounds").c
    rows = session.execute(select(rounds.id, rounds.number).where(rounds.id.in_(round_ids)))
    return {row.id: row.number for row in rows}


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
T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page, and the key after which the next one begins (None on the last)."""

    rows: list[T]
    next: int | None


def list_batches(session: Session, *, before: int | None = None, limit: int = 25) -> Page[Batch]:
    """Batches, newest first."""
    query = select(Batch).order_by(Batch.id.desc())
    if before is not None:
        query = query.where(Batch.id < before)
    return _page(session, query, limit)


def list_prompts(
    session: Session, batch: Batch, *, state: PromptState | None = None, after: int | None = None, limit: int = 25
) -> Page[Prompt]:
    """Prompts of ``batch`` in the order of the file, perhaps only those in ``state``."""
    query = select(Prompt).where(Prompt.batch_id == batch.id).order_by(Prompt.id)
    if state is not None:
        query = query.where(Prompt.state == state)
    if after is not None:
        query = query.where(Prompt.id > after)
    return _page(session, query, limit)


def unconfirmed_uploads(session: Session, *, limit: int = 10) -> list[Upload]:
    """Files that wait for somebody to confirm or discard them, newest first; without their bytes."""
    return list(
        session.scalars(select(Upload).where(Upload.batch_id.is_(None)).order_by(Upload.id.desc()).limit(limit))
    )


def _page(session: Session, query: Select[Any], limit: int) -> Page[Any]:
    rows = list(session.scalars(query.limit(limit + 1)))
    more = len(rows) > limit
    return Page(rows[:limit], rows[limit - 1].id if more else None)
