"""Reads that a batch is shown with: how far it is, the responses of a prompt, and who may read its guidelines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, and_, func, literal, select
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.candidates.models import IMPORTED, Candidate
from app.candidates.traces import Message, Step, blind, steps_of
from app.comparisons import given, purposes
from app.comparisons.models import KNOWN_ANSWER_IN_USE, Assignment, Comparison
from app.kernel.errors import NotFound
from app.kernel.settings import get_settings
from app.prompts.models import Batch, BatchState, GuidelineReading, Prompt, Upload
from app.prompts.queries import STAFF
from app.registry.models import Checkpoint, External


# ── Progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Progress:
    """How far a batch is: prompts by the state of their generation, comparisons, and annotations over all of them."""

    pending: int = 0
    generating: int = 0
    ready: int = 0
    unanimous: int = 0
    quarantined: int = 0
    withdrawn: int = 0
    """Prompts that an admin has taken out; they count nowhere else."""
    comparisons: int = 0
    done: int = 0
    unstarted: int = 0
    """Comparisons that nobody has begun."""
    annotations: int = 0
    annotations_wanted: int = 0
    known_answers: int = 0
    """Items whose answer is known and that are given out; they are no work of the batch, and count nowhere else."""
    checks: int = 0
    """Responses and submitted edits that are checked, or wait for it."""
    checks_done: int = 0
    """Of these, all that wait no more."""
    unchecked: int = 0
    """Of those, the ones of which a verifier could say nothing."""
    checks_put_off: int = 0
    """Checks that wait because the service that runs code is away."""

    @property
    def total(self) -> int:
        """All prompts but those that are withdrawn."""
        return self.pending + self.generating + self.ready + self.unanimous + self.quarantined

    @property
    def unsettled(self) -> int:
        """Prompts that still wait for candidates."""
        return self.pending + self.generating

    @property
    def far_ahead(self) -> bool:
        """Whether prompts wait until people have judged some of what is ready: generation runs ahead by so much only."""
        return self.pending > 0 and self.unstarted + self.generating >= get_settings().generation_ahead


ALSO_COUNTED: list[Callable[[Session, Sequence[int]], Iterator[tuple[int, dict[str, int]]]]] = []
"""What rooms above count of a batch: they say it when they are imported."""


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
    asked = and_(purposes.is_asked_for, Comparison.annotators_wanted > 0)
    compared = (
        select(
            Comparison.batch_id,
            func.count().filter(asked).label("comparisons"),
            func.count().filter(asked, Comparison.annotators_done >= Comparison.annotators_wanted).label("done"),
            func.count().filter(asked, Comparison.seats_free == Comparison.annotators_wanted).label("unstarted"),
            func.coalesce(func.sum(Comparison.annotators_done).filter(asked), 0).label("annotations"),
            func.coalesce(func.sum(Comparison.annotators_wanted).filter(asked), 0).label("annotations_wanted"),
            func.count().filter(KNOWN_ANSWER_IN_USE, Comparison.seats_free > 0).label("known_answers"),
        )
        .where(Comparison.batch_id.in_(batch_ids))
        .group_by(Comparison.batch_id)
    )
    for row in session.execute(compared).mappings():
        counted[row["batch_id"]] |= {key: int(row[key]) for key in row if key != "batch_id"}
    for count_more in ALSO_COUNTED:
        for batch_id, counts in count_more(session, batch_ids):
            counted[batch_id] |= counts
    return {batch_id: Progress(**counts) for batch_id, counts in counted.items()}


def overdue(session: Session, batch_ids: Sequence[int]) -> set[int]:
    """Those whose deadline has passed and that are not closed."""
    return set(session.scalars(select(Batch.id).where(Batch.id.in_(batch_ids), given.OVERDUE)))


# ── Candidates ───────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class CandidateView:
    """A response of a prompt. All but its text is None for everyone but admins: others may yet judge it."""

    text: str
    finish_reason: str | None
    completion_tokens: int | None
    checkpoint: str | None
    sampling: dict[str, Any] | None
    trace: Sequence[Message] = ()
    """The messages before it that called tools, and the results."""
    imported: bool = False
    """Whether it came in the file of its prompt."""
    said: dict[str, Any] | None = None
    """What that file says of it."""

    @property
    def steps(self) -> list[Step]:
        """The same, as people read it."""
        return steps_of(self.trace)


def candidates_of(session: Session, user: User, prompt: Prompt) -> list[CandidateView]:
    """The responses of ``prompt``: as sampled for admins; for reviewers their texts alone, in the order of a hash.

    How many tokens a response took tells models apart as well as a name does. Judges are told that the limit cut one off.
    """
    is_admin = user.role is Role.ADMIN
    query = (
        select(
            Candidate.text,
            Candidate.steps,
            Candidate.finish_reason,
            Candidate.completion_tokens,
            Checkpoint.name.label("checkpoint"),
            Candidate.sampling,
            Candidate.engine_version,
            Candidate.extra,
        )
        .join(Checkpoint, Checkpoint.id == Candidate.checkpoint_id)
        .where(Candidate.prompt_id == prompt.id)
        .order_by(Candidate.id if is_admin else func.md5(Candidate.text))
    )
    return [
        CandidateView(
            text=row.text,
            finish_reason=row.finish_reason if is_admin else None,
            completion_tokens=row.completion_tokens if is_admin else None,
            checkpoint=row.checkpoint if is_admin else None,
            sampling=row.sampling if is_admin else None,
            trace=blind(row.steps),
            imported=is_admin and row.engine_version == IMPORTED,
            said=row.extra if is_admin else None,
        )
        for row in session.execute(query)
    ]


def came_with_responses(session: Session, prompt: Prompt) -> bool:
    """Whether the file of ``prompt`` brought responses to it."""
    imported = select(Candidate.id).where(Candidate.prompt_id == prompt.id, Candidate.engine_version == IMPORTED)
    return session.scalar(imported.limit(1)) is not None


@dataclass(frozen=True)
class ImportedModel:
    """A model whose responses came in the file of a batch."""

    checkpoint_id: int
    name: str
    responses: int
    may_train: bool


def imported_models(session: Session, batch: Batch) -> list[ImportedModel]:
    """The models whose responses ``batch`` was imported with. For admins alone: a reviewer may yet judge them."""
    brought = select(Upload.id).where(Upload.batch_id == batch.id, Upload.report["responses"]["count"].as_integer() > 0)
    if session.scalar(brought) is None:
        return []
    query = (
        select(Checkpoint.id, Checkpoint.name, func.count(), External.may_train)
        .join(External, External.checkpoint_id == Checkpoint.id)
        .join(Candidate, Candidate.checkpoint_id == Checkpoint.id)
        .join(Prompt, Prompt.id == Candidate.prompt_id)
        .where(Prompt.batch_id == batch.id, Candidate.engine_version == IMPORTED, Candidate.edited_from_id.is_(None))
        .group_by(Checkpoint.id, Checkpoint.name, External.may_train)
        .order_by(func.count().desc(), Checkpoint.name)
    )
    return [ImportedModel(*row) for row in session.execute(query)]


# ── Guidelines ───────────────────────────────────────────────────────────────────────────────────────────────────────
def access_guidelines(session: Session, user: User, batch_id: int) -> Batch:
    """The batch whose guidelines ``user`` may read: any for staff, an open one that gives them items, or one they worked on.

    Raises:
        NotFound: no such batch, or none of theirs.
    """
    batch = session.get(Batch, batch_id)
    if batch is None:
        raise NotFound
    if user.role in STAFF or (batch.state is BatchState.OPEN and _assigned(session, user, batch)):
        return batch
    if batch.state is BatchState.PREPARING or not _worked_on(session, user, batch):
        raise NotFound
    return batch


def _assigned(session: Session, user: User, batch: Batch) -> bool:
    return bool(session.scalar(select(given.assigned_to(literal(user.id, BigInteger), literal(batch.id, BigInteger)))))


def _worked_on(session: Session, user: User, batch: Batch) -> bool:
    if session.get(GuidelineReading, (batch.id, user.id)) is not None:
        return True
    worked = (
        select(literal(1))
        .select_from(Assignment)
        .join(Comparison, Comparison.id == Assignment.comparison_id)
        .where(Assignment.annotator_id == user.id, Comparison.batch_id == batch.id)
        .limit(1)
    )
    return session.scalar(worked) is not None
