"""Reads of preferences: the stream of annotations with all that a row names, the tally, snapshots and their lineage.

Which side of the split a prompt is on is decided by its hash (``training.formats.prompts.split_of``); the same rule as a range
of hashes lets the database count by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    any_,
    case,
    cast,
    column,
    exists,
    func,
    select,
    table,
    text,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONPATH, aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import NULLTYPE

from app.accounts.models import Role, User
from app.annotations.models import STANDING, Annotation, Comparison, Outcome, Purpose
from app.candidates.models import Candidate
from app.dialogues.models import Dialogue
from app.errors import NotFound
from app.preferences.forms import ExportFilter, Shape
from app.preferences.models import Snapshot, SnapshotAnnotation
from app.prompts.models import Batch, BatchState, Prompt
from app.registry.models import Checkpoint
from training.formats.pairs import Stated, derive, expand
from training.formats.prompts import Split

ROUNDS = table("rounds", column("id", BigInteger), column("number"))
"""Only the number is needed here, and rounds are built on preferences, not under them."""
STREAM_ROWS = 500


@dataclass(frozen=True, slots=True)
class Source:
    """One standing annotation with everything that its rows name.

    ``messages``, ``tools``, ``tests``, ``metadata``, ``samplings``, ``attributes``, ``flags`` and ``spans`` are JSON.
    """

    annotation_id: int
    outcome: Outcome
    ranking: list[list[int]]
    strengths: list[int]
    order_shown: list[int]
    edited_candidate_id: int | None
    edited_text: str | None
    edit_source: str | None
    nothing_to_improve: bool
    attributes: str
    flags: str
    spans: str
    comment: str
    active_seconds: float | None
    created_at: datetime
    annotator: str
    prompt_id: int
    source_id: str
    reference: str | None
    tests: str | None
    metadata: str | None
    parent_prompt_id: int | None
    dialogue: int | None
    system_kept: str | None
    messages: str
    tools: str | None
    content_hash: bytes
    capability: str | None
    batch: str
    round: int
    candidate_ids: list[int]
    texts: list[str]
    finish_reasons: list[str]
    samplings: list[str]
    checkpoints: list[str]


def sources(
    session: Session, wanted: ExportFilter, held_out_percent: int, limit: int | None = None
) -> Iterator[Source]:
    """Stream current annotations in the order of their ids.

    One statement behind one server-side cursor: all rows are of the same moment, and memory stays flat.
    """
    shown = (
        select(
            _listed(Candidate.id).label("candidate_ids"),
            _listed(Candidate.text).label("texts"),
            _listed(Candidate.finish_reason).label("finish_reasons"),
            _listed(cast(Candidate.sampling, Text)).label("samplings"),
            _listed(Checkpoint.name).label("checkpoints"),
        )
        .join(Checkpoint, Checkpoint.id == Candidate.checkpoint_id)
        .where(Candidate.id == any_(Annotation.order_shown))
        .lateral("shown")
    )
    query = (
        joined(
            select(
                Annotation.id,
                Annotation.outcome,
                Annotation.ranking,
                type_coerce(Annotation.strengths, NULLTYPE),
                type_coerce(Annotation.order_shown, NULLTYPE),
                Annotation.edited_candidate_id,
                Annotation.edited_text,
                Annotation.edit_source,
                Annotation.nothing_to_improve,
                cast(Annotation.attributes, Text),
                cast(Annotation.flags, Text),
                cast(Annotation.spans, Text),
                Annotation.comment,
                Annotation.active_seconds,
                Annotation.created_at,
                User.pseudonym,
                Prompt.id,
                Prompt.external_id,
                Prompt.reference,
                cast(Prompt.tests, Text),
                func.nullif(cast(Prompt.extra, Text), "{}"),
                Prompt.parent_id,
                Prompt.dialogue_id,
                Dialogue.system_kept,
                cast(Prompt.messages, Text),
                cast(Prompt.tools, Text),
                Prompt.content_hash,
                func.coalesce(Prompt.capability, Batch.capability),
                Batch.name,
                ROUNDS.c.number,
                shown.c.candidate_ids,
                shown.c.texts,
                shown.c.finish_reasons,
                shown.c.samplings,
                shown.c.checkpoints,
            )
        )
        .join(User, User.id == Annotation.annotator_id)
        .outerjoin(Dialogue, Dialogue.id == Prompt.dialogue_id)
        .join(shown, true())
        .where(*conditions(wanted, held_out_percent))
        .order_by(Annotation.id)
        .limit(limit)
    )
    for row in session.execute(query, execution_options={"stream_results": True, "yield_per": STREAM_ROWS}):
        yield Source(*row)


def _listed(column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """The values of a comparison's candidates, by id, as the driver's own list: SQLAlchemy would copy each array again."""
    return type_coerce(func.array_agg(aggregate_order_by(column, Candidate.id)), NULLTYPE)


def has_tool_messages(session: Session, wanted: ExportFilter, held_out_percent: int) -> bool:
    """Whether any prompt has a message with more in it than a role and a content: tool calls and what they returned."""
    more = "$[*] ? (exists(@.tool_calls) || exists(@.tool_call_id) || exists(@.name))"
    found = joined(select(Annotation.id)).where(
        func.jsonb_path_exists(Prompt.messages, cast(more, JSONPATH)),
        *conditions(wanted, held_out_percent),
    )
    return bool(session.scalar(select(exists(found))))


def held_out(percent: int) -> ColumnElement[bool]:
    """``split_of`` as a condition: the held-out hashes are those below ``percent`` hundredths of all hashes.

    Byte strings compare from the left and a prefix is smaller, so 8 bytes bound 32 exactly.
    """
    bound = -(-(percent << 64) // 100)
    return Prompt.content_hash < (bound.to_bytes(8, "big") if bound < 1 << 64 else b"\xff" * 33)


def joined(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Annotations with all that :func:`conditions` names."""
    return (
        query.select_from(Annotation)
        .join(Comparison, Comparison.id == Annotation.comparison_id)
        .join(Prompt, Prompt.id == Comparison.prompt_id)
        .join(Batch, Batch.id == Prompt.batch_id)
        .join(ROUNDS, ROUNDS.c.id == Batch.round_id)
    )


def conditions(wanted: ExportFilter, percent: int) -> list[ColumnElement[bool]]:
    """Which annotations are preferences at all, and of these the wanted ones."""
    found: list[ColumnElement[bool]] = [STANDING, Comparison.purpose == Purpose.COLLECT]
    if wanted.batch_ids:
        found.append(Batch.id.in_(wanted.batch_ids))
    if wanted.rounds:
        found.append(ROUNDS.c.number.in_(wanted.rounds))
    if wanted.until is not None:
        found.append(Annotation.id <= wanted.until)
    if wanted.split is not None:
        found.append(held_out(percent) if wanted.split is Split.HELD_OUT else ~held_out(percent))
    if wanted.settled:
        found.append(_settled())
    return found


def _settled() -> ColumnElement[bool]:
    """Nobody will be given this comparison any more: it has its annotations, or its batch is closed for good."""
    return (Comparison.annotators_done >= Comparison.annotators_wanted) | (Batch.state == BatchState.CLOSED)


def visible_to(user: User, wanted: ExportFilter) -> ExportFilter:
    """What of ``wanted`` may be shown to ``user``.

    A row names the checkpoints, and everybody but an admin may yet be given what still wants annotators.
    """
    return wanted if user.role is Role.ADMIN else wanted.model_copy(update={"settled": True})


def names_models_too_early(session: Session, user: User, snapshot: Snapshot) -> bool:
    """Whether the rows of ``snapshot`` would tell ``user`` of comparisons that still want annotators."""
    if user.role is Role.ADMIN:
        return False
    unsettled = (
        joined(select(Annotation.id))
        .join(SnapshotAnnotation, SnapshotAnnotation.annotation_id == Annotation.id)
        .where(SnapshotAnnotation.snapshot_id == snapshot.id, ~_settled())
    )
    return bool(session.scalar(select(exists(unsettled))))


@dataclass(frozen=True)
class Tally:
    """Annotations of one batch that look alike: same outcome, same group sizes and strengths, same side of the split."""

    batch_id: int
    batch: str
    round: int
    outcome: Outcome
    split: Split
    edited: bool
    sizes: tuple[int, ...]
    strengths: tuple[int, ...]
    shown: int
    annotations: int

    def pairs(self) -> dict[int, int]:
        """How many pairs of each strength these annotations give; ties and all unacceptable give none."""
        counts = Counter(row.strength for row in self._stated() if row.strength is not None)
        return {strength: count * self.annotations for strength, count in sorted(counts.items())}

    def rows(self, shape: Shape, min_strength: int | None) -> int:
        """How many rows an export of this shape has of them."""
        stated = [row for row in self._stated() if (row.strength or 0) >= (min_strength or 0)]
        rows = stated if shape is Shape.CANONICAL else list(expand(stated, min_strength or 1))
        return len(rows) * self.annotations

    def _stated(self) -> list[Stated[int]]:
        """The rows of one of them. Only a response in first place is ever edited, and which of those changes no count."""
        places = iter(range(self.shown))
        ranking = [[next(places) for _ in range(size)] for size in self.sizes]
        return list(derive(self.outcome, ranking, self.strengths, range(self.shown), 0 if self.edited else None))


def tally(session: Session, wanted: ExportFilter, held_out_percent: int) -> list[Tally]:
    """Count current annotations by what decides how many pairs they give: a few hundred rows for any number of them."""
    groups = func.jsonb_array_elements(Annotation.ranking).table_valued("value")
    sizes = (
        select(func.coalesce(func.array_agg(func.jsonb_array_length(groups.c.value)), []))
        .select_from(groups)
        .scalar_subquery()
    )
    split = case((held_out(held_out_percent), Split.HELD_OUT.value), else_=Split.TRAIN.value)
    keys = (
        Batch.id,
        Batch.name,
        ROUNDS.c.number,
        Annotation.outcome,
        split,
        Annotation.edited_text.isnot(None),
        sizes,
        Annotation.strengths,
        func.cardinality(Annotation.order_shown),
    )
    query = joined(select(*keys, func.count())).where(*conditions(wanted, held_out_percent))
    rows = session.execute(query.group_by(*(text(str(place)) for place in range(1, len(keys) + 1))))
    return [
        Tally(batch, name, number, outcome, Split(side), edited, tuple(sizes), tuple(strengths), shown, count)
        for batch, name, number, outcome, side, edited, sizes, strengths, shown, count in rows
    ]


def last_annotation_id(session: Session) -> int:
    """The newest annotation's id; 0 when there is none."""
    return session.scalar(select(func.max(Annotation.id))) or 0


def list_snapshots(session: Session, *, before: int | None = None, limit: int = 50) -> list[Snapshot]:
    """Newest first; ``before`` is the last id of the page above."""
    query = select(Snapshot).order_by(Snapshot.id.desc()).limit(limit)
    return list(session.scalars(query if before is None else query.where(Snapshot.id < before)))


def access_snapshot(session: Session, user: User, snapshot_id: int) -> Snapshot:
    """The snapshot, for reviewers and admins; for anybody else there is none."""
    found = session.get(Snapshot, snapshot_id) if user.role in {Role.REVIEWER, Role.ADMIN} else None
    if found is None:
        raise NotFound
    return found


@dataclass(frozen=True)
class Use:
    """A training run that named a snapshot, and what came of it."""

    run_id: int
    kind: str
    state: str
    round: int
    checkpoint_id: int | None
    checkpoint: str | None


@dataclass(frozen=True)
class SnapshotLineage:
    """What a snapshot was made of, and what was made of it."""

    annotations: int
    annotators: int
    uses: list[Use]


_MADE_OF = text("""
    SELECT count(*), count(DISTINCT a.annotator_id)
      FROM snapshot_annotations s JOIN annotations a ON a.id = s.annotation_id
     WHERE s.snapshot_id = :id
""")
_USES = text("""
    SELECT r.id, r.kind, r.state, n.number, c.id, c.name
      FROM training_runs r JOIN rounds n ON n.id = r.round_id LEFT JOIN checkpoints c ON c.id = r.checkpoint_id
     WHERE r.snapshot_id = :id ORDER BY r.id
""")


def lineage(session: Session, snapshot: Snapshot) -> SnapshotLineage:
    """Back to the annotations and on to the runs and checkpoints (plain SQL: rounds are built on preferences)."""
    annotations, annotators = session.execute(_MADE_OF, {"id": snapshot.id}).one()
    uses = session.execute(_USES, {"id": snapshot.id})
    return SnapshotLineage(annotations, annotators, [Use(*row) for row in uses])


def batch_names(session: Session) -> list[tuple[int, str]]:
    """Every batch to choose from, newest first."""
    return [(key, name) for key, name in session.execute(select(Batch.id, Batch.name).order_by(Batch.id.desc()))]


def round_numbers(session: Session) -> list[int]:
    """Every round to choose from, newest first."""
    return list(session.scalars(select(ROUNDS.c.number).order_by(ROUNDS.c.number.desc())))


def snapshots_holding(session: Session, annotation_id: int) -> list[Snapshot]:
    """Every snapshot that an annotation went into: where a retraction has to look."""
    query = (
        select(Snapshot)
        .join(SnapshotAnnotation, SnapshotAnnotation.snapshot_id == Snapshot.id)
        .where(SnapshotAnnotation.annotation_id == annotation_id)
        .order_by(Snapshot.id)
    )
    return list(session.scalars(query))
