"""Reads of preferences: the stream of annotations with all that a row names, the tally, snapshots.

Which side of the split a prompt is on is decided by its hash (``training.formats.prompts.split_of``); the same rule as a range
of hashes lets the database count by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.orm import Session

from app.accounts.models import Role, User
from app.annotations.models import COUNTS, OVERRULED, RETURNED, STANDING, Annotation, StepLabel
from app.candidates.models import Candidate
from app.comparisons import purposes
from app.comparisons.models import Comparison, ComparisonCandidate
from app.dialogues.models import Dialogue
from app.judgements.vocabulary import Flag, Outcome
from app.kernel.errors import NotFound
from app.kernel.paging import Order, Page, read_page
from app.loops.models import Round
from app.preferences import sensitive
from app.preferences.columns import CORRECTED, Source, plan_columns
from app.preferences.exporters import Shape
from app.preferences.forms import Concern, ExportFilter
from app.preferences.models import Snapshot, SnapshotAnnotation
from app.prompts.models import LANGUAGE, Batch, BatchState, Prompt
from training.formats.pairs import Stated, derive
from training.formats.prompts import Split

STREAM_ROWS = 500


def _any_message(path: str) -> ColumnElement[bool]:
    return func.jsonb_path_exists(Prompt.messages, cast(f"$[*] ? (exists(@.{path}))", JSONPATH))


RARE: dict[str, ColumnElement[bool]] = {
    "tools": Prompt.tools.is_not(None),
    "capability": func.coalesce(Prompt.capability, Batch.capability).is_not(None),
    "tool_calls": _any_message("tool_calls"),
    "tool_call_id": _any_message("tool_call_id"),
    "name": _any_message("name"),
    "history": func.jsonb_array_length(Prompt.messages) > 2,
}
"""What a row of a shape may lack: when it has it."""


def sources(
    session: Session,
    wanted: ExportFilter,
    held_out_percent: int,
    limit: int | None = None,
    *,
    steps: bool = False,
    also: ColumnElement[bool] | None = None,
) -> Generator[Source]:
    """Stream current annotations in the order of their ids: preferences, or with ``steps`` labels of steps.

    With ``also`` only those of which that holds, too.

    One statement behind one server-side cursor: all rows are of the same moment, and memory stays flat.
    """
    plan = plan_columns(steps=steps)
    query = (
        joined(select(*plan.selected()))
        .join(User, User.id == Annotation.annotator_id)
        .outerjoin(Dialogue, Dialogue.id == Prompt.dialogue_id)
        .outerjoin(CORRECTED, CORRECTED.superseded_by_id == Annotation.id)
        .join(plan.shown, true())
        .where(*conditions(wanted, held_out_percent, steps=steps), *(() if also is None else (also,)))
        .order_by(Annotation.id)
        .limit(limit)
    )
    with session.execute(query, execution_options={"stream_results": True, "yield_per": STREAM_ROWS}) as found:
        for row in found:
            yield plan.source(row)


def has_tool_messages(session: Session, wanted: ExportFilter, held_out_percent: int) -> bool:
    """Whether any prompt has a message with more in it than a role and a content: tool calls and what they returned."""
    more = "$[*] ? (exists(@.tool_calls) || exists(@.tool_call_id) || exists(@.name))"
    found = joined(select(Annotation.id)).where(
        func.jsonb_path_exists(Prompt.messages, cast(more, JSONPATH)),
        *conditions(wanted, held_out_percent),
    )
    return bool(session.scalar(select(exists(found))))


def present(session: Session, wanted: ExportFilter, held_out_percent: int, rare: Sequence[str]) -> list[str]:
    """Which of :data:`RARE` any annotation has."""
    if not rare:
        return []
    query = joined(select(*(func.coalesce(func.bool_or(RARE[name]), false()) for name in rare)))
    found = session.execute(query.where(*conditions(wanted, held_out_percent))).one()
    return [name for name, has in zip(rare, found, strict=True) if has]


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
        .join(Round, Round.id == Batch.round_id)
    )


def conditions(wanted: ExportFilter, percent: int, *, steps: bool = False) -> list[ColumnElement[bool]]:
    """Which annotations are preferences at all, and of these the wanted ones; with ``steps`` which are labels of steps."""
    return [COUNTS, *asked(wanted, percent, steps=steps)]


def asked(wanted: ExportFilter, percent: int, *, steps: bool = False) -> list[ColumnElement[bool]]:
    """Which annotations are wanted, whether they count or not."""
    found: list[ColumnElement[bool]] = [
        purposes.labels if steps else purposes.trains,
        *of_batches(wanted, percent),
    ]
    if wanted.until is not None:
        found.append(Annotation.id <= wanted.until)
    if wanted.settled:
        found.append(is_settled())
    return found + _judged_so(wanted) + narrowing(wanted)


def _judged_so(wanted: ExportFilter) -> list[ColumnElement[bool]]:
    """What is asked of a judgement: who gave it, what it came to, and when."""
    found: list[ColumnElement[bool]] = []
    if wanted.annotators:
        people = select(User.id).where(User.pseudonym.in_(wanted.annotators))
        found.append(Annotation.annotator_id.in_(people.scalar_subquery()))
    if wanted.outcomes:
        found.append(Annotation.outcome.in_(wanted.outcomes))
    if wanted.first_day is not None:
        found.append(Annotation.created_at >= _midnight(wanted.first_day))
    if wanted.last_day is not None:
        found.append(Annotation.created_at < _midnight(wanted.last_day + timedelta(days=1)))
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def of_batches(wanted: ExportFilter, percent: int) -> list[ColumnElement[bool]]:
    """What is asked of a prompt by its batch, round, side of the split, origin, language and capability, whoever judged it."""
    found: list[ColumnElement[bool]] = []
    if wanted.batch_ids:
        found.append(Batch.id.in_(wanted.batch_ids))
    if wanted.rounds:
        found.append(Round.number.in_(wanted.rounds))
    if wanted.split is not None:
        found.append(held_out(percent) if wanted.split is Split.HELD_OUT else ~held_out(percent))
    if wanted.origins:
        found.append(Prompt.origin.in_(wanted.origins))
    if wanted.languages:
        found.append(LANGUAGE.in_(wanted.languages))
    if wanted.capabilities:
        found.append(func.coalesce(Prompt.capability, Batch.capability).in_(wanted.capabilities))
    if wanted.without:
        found.append(sensitive.stays([Flag(each) for each in wanted.without]))
    return found


def narrowing(wanted: ExportFilter) -> list[ColumnElement[bool]]:
    """What is asked of an annotation by what held it before, and by whose responses it is on."""
    found: list[ColumnElement[bool]] = []
    if wanted.beyond_snapshot is not None:
        held = exists().where(
            SnapshotAnnotation.snapshot_id == wanted.beyond_snapshot, SnapshotAnnotation.annotation_id == Annotation.id
        )
        found.append(~held)
    if wanted.checkpoint_ids:
        shown = select(ComparisonCandidate.comparison_id).join(
            Candidate, Candidate.id == ComparisonCandidate.candidate_id
        )
        shown = shown.where(
            ComparisonCandidate.comparison_id == Comparison.id, Candidate.checkpoint_id.in_(wanted.checkpoint_ids)
        )
        found.append(shown.correlate(Comparison).exists())
    return found


def is_settled() -> ColumnElement[bool]:
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
        .where(SnapshotAnnotation.snapshot_id == snapshot.id, ~is_settled())
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
        return sum(1 for _ in shape.exporter.pairs(self._stated(), min_strength)) * self.annotations

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
        Round.number,
        Annotation.outcome,
        split,
        Annotation.edited_candidate_id.isnot(None),
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


def count_labelled(session: Session, wanted: ExportFilter, held_out_percent: int) -> int:
    """How many rows an export of labels of steps has: one a response, and one for each right step that was written."""
    written = exists().where(StepLabel.annotation_id == Annotation.id, StepLabel.correction != "")
    query = joined(select(func.count() + func.count().filter(written)))
    return int(session.execute(query.where(*conditions(wanted, held_out_percent, steps=True))).scalar_one())


@dataclass(frozen=True)
class LeftOut:
    """Annotations that stand and are no preferences now."""

    returned: int
    """A reviewer asked their annotators to look again: they count once they are corrected or accepted."""
    retracted: int
    """An admin took them out."""
    overruled: int
    """A reviewer chose another judgement of their item as the one that holds."""


def left_out(session: Session, wanted: ExportFilter, held_out_percent: int) -> LeftOut:
    """How many annotations a count or an export of ``wanted`` leaves out for what was said of them since."""
    retracted = Annotation.retraction_id.is_not(None)
    query = joined(
        select(
            func.count().filter(and_(RETURNED, ~retracted)),
            func.count().filter(retracted),
            func.count().filter(and_(OVERRULED, ~RETURNED, ~retracted)),
        ),
    ).where(STANDING, ~COUNTS, *asked(wanted, held_out_percent))
    return LeftOut(*session.execute(query).one())


def flagged(session: Session, wanted: ExportFilter, held_out_percent: int) -> dict[str, int]:
    """How many annotations ``wanted`` leaves out for what people flagged: for each concern, and as ``judgements`` in all.

    One may be of both, so the concerns may come to more than all.
    """

    def counted(without: Sequence[Concern]) -> int:
        these = conditions(wanted.model_copy(update={"without": tuple(without)}), held_out_percent)
        return session.scalar(joined(select(func.count())).where(*these)) or 0

    everything = counted(())
    each = {concern.value: everything - counted([concern]) for concern in wanted.without}
    return {"judgements": everything - counted(wanted.without), **each}


def last_annotation_id(session: Session) -> int:
    """The newest annotation's id; 0 when there is none."""
    return session.scalar(select(func.max(Annotation.id))) or 0


def list_snapshots(session: Session, *, before: int | None = None, limit: int = 50) -> Page[Snapshot]:
    """Newest first."""
    return read_page(session, select(Snapshot), Order(Snapshot.id), before, limit)


def access_snapshot(session: Session, user: User, snapshot_id: int) -> Snapshot:
    """The snapshot, for reviewers and admins; for anybody else there is none."""
    found = session.get(Snapshot, snapshot_id) if user.role in {Role.REVIEWER, Role.ADMIN} else None
    if found is None:
        raise NotFound
    return found


def batch_names(session: Session) -> list[tuple[int, str]]:
    """Every batch to choose from, newest first."""
    return [(key, name) for key, name in session.execute(select(Batch.id, Batch.name).order_by(Batch.id.desc()))]


def languages(session: Session) -> list[str]:
    """The codes of all languages that prompts are known to be in."""
    query = select(LANGUAGE).select_from(Prompt).join(Batch, Batch.id == Prompt.batch_id).distinct()
    return sorted(code for code in session.scalars(query) if code)


def capabilities(session: Session) -> list[str]:
    """All that prompts test."""
    tested = func.coalesce(Prompt.capability, Batch.capability)
    query = select(tested).select_from(Prompt).join(Batch, Batch.id == Prompt.batch_id).distinct()
    return sorted(found for found in session.scalars(query) if found)


def annotators(session: Session) -> list[str]:
    """The pseudonyms of all who judged anything."""
    judged = exists().where(Annotation.annotator_id == User.id)
    return sorted(session.scalars(select(User.pseudonym).where(judged)))


def round_numbers(session: Session) -> list[int]:
    """Every round to choose from, newest first."""
    return list(session.scalars(select(Round.number).order_by(Round.number.desc())))
