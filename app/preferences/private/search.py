"""What patterns find in a selection before it leaves: how much, and where, a part at a time.

A part is looked at in about a second and held in memory alone; the next begins where it ended. So a search shows its
progress, is cancelled by not asking on, and holds no connection while somebody reads.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.annotations.models import Annotation
from app.kernel.settings import get_settings
from app.preferences import queries
from app.preferences.columns import Source
from app.preferences.exporters import Shape
from app.preferences.forms import ExportFilter
from app.preferences.private.kinds import Kind, Passage
from app.preferences.private.masking import Where, found_in, masked

SECONDS = 0.7
"""After which a part ends."""
AROUND = 40
"""Characters that an excerpt shows on either side of a passage."""


@dataclass(frozen=True)
class Place:
    """One passage, in a text that a row holds."""

    annotation_id: int
    column: str
    candidate_id: int | None
    kind: Kind
    excerpt: str
    """The passage as its placeholder, with what stands around it, masked too."""


@dataclass
class Part:
    """What was found in the judgements that were looked at."""

    searched: int = 0
    judgements: int = 0
    """With any."""
    rows: int = 0
    """Of these judgements, in the shape that was asked for."""
    passages: Counter[Kind] = field(default_factory=Counter)
    places: list[Place] = field(default_factory=list)
    next: int | None = None
    """Where the next part begins: after this annotation; None at the end."""


def count(session: Session, shape: Shape, wanted: ExportFilter) -> int:
    """How many judgements a whole search looks at."""
    query = queries.joined(select(func.count(Annotation.id)))
    steps = shape.exporter.labels_steps
    found = session.scalar(query.where(*queries.conditions(wanted, get_settings().held_out_percent, steps=steps)))
    return found or 0


def search(
    session: Session,
    shape: Shape,
    wanted: ExportFilter,
    *,
    after: int = 0,
    places: int = 50,
    seconds: float | None = None,
) -> Part:
    """Look at the judgements after ``after``, at least at one, until ``places`` were found or ``seconds`` have passed.

    Of one judgement with more than ``places`` passages the first are listed, and all are counted; with no ``places`` all are
    only counted. ``seconds`` are :data:`SECONDS` unless given.
    """
    part, ends = Part(), time.monotonic() + (SECONDS if seconds is None else seconds)
    percent, steps = get_settings().held_out_percent, shape.exporter.labels_steps
    with closing(queries.sources(session, wanted, percent, steps=steps, also=Annotation.id > after)) as found:
        for source in found:
            full = bool(places) and len(part.places) >= places
            if part.searched and (full or time.monotonic() > ends):
                part.next = after
                return part
            _look(source, shape, wanted, part, places)
            after = source.annotation_id
    return part


def _look(source: Source, shape: Shape, wanted: ExportFilter, part: Part, places: int) -> None:
    part.searched += 1
    found = found_in(source)
    if not found:
        return
    part.judgements += 1
    part.rows += sum(1 for _ in shape.exporter.rows(source, wanted.min_strength, flat=True)[1])
    for where in found:
        part.passages.update(each.kind for each in where.passages)
        for each in where.passages[: max(0, places - len(part.places))]:
            excerpt = excerpt_of(where, each)
            part.places.append(Place(source.annotation_id, where.column, where.candidate_id, each.kind, excerpt))


def excerpt_of(where: Where, passage: Passage) -> str:
    """A passage in a line of its text, masked."""
    start, end = max(0, passage.start - AROUND), min(len(where.text), passage.end + AROUND)
    inside = [
        Passage(max(each.start, start) - start, min(each.end, end) - start, each.kind)
        for each in where.passages
        if each.end > start and each.start < end
    ]
    said = " ".join(masked(where.text[start:end], inside).split())
    return f"{'…' if start else ''}{said}{'…' if end < len(where.text) else ''}"
