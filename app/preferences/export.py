"""Streams preferences out, in the shapes and formats of :mod:`app.preferences.exporters`.

Whatever the size, memory holds a few hundred annotations (JSON Lines) or one row group (Parquet). A row is built once, as
JSON: each text of an annotation is encoded a single time and spliced into all rows that repeat it, and Parquet is what
Arrow reads out of the same lines. Texts are as sampled; people appear by their pseudonym only. The columns are those of
:mod:`training.formats.columns`, described in ``docs/formats.md``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson
from sqlalchemy.orm import Session

from app.kernel.settings import get_settings
from app.preferences import changes, queries
from app.preferences.card import card
from app.preferences.columns import Source
from app.preferences.exporters import Format, Shape
from app.preferences.exporters.kinds import Content, RowShape
from app.preferences.exporters.parquet import unwritable as unwritable_in_parquet
from app.preferences.forms import ExportFilter
from app.preferences.private.masking import Counted, treated
from training.formats.prompts import Split, split_of

Row = dict[str, Any]


@dataclass
class Progress:
    """What has passed through a stream so far; filled while it is read."""

    rows: int = 0
    train_rows: int = 0
    held_out_rows: int = 0
    annotation_ids: array[int] = field(default_factory=lambda: array("q"))
    private: Counted = field(default_factory=Counted)
    """What patterns found, where they were asked."""


def stream(
    session: Session,
    shape: Shape,
    form: Format,
    wanted: ExportFilter,
    progress: Progress | None = None,
    window: changes.Window | None = None,
) -> Iterator[bytes]:
    """Yield the export as bytes, a chunk at a time; the bytes of all chunks together are the file.

    With a ``window`` it is what changed in it: the rows of what counts now, then one for each annotation that no longer does.
    """
    progress = progress if progress is not None else Progress()
    content = Content(
        shape=shape.exporter,
        columns=shape.exporter.columns(),
        lines=lambda flat: _lines(session, shape, wanted, progress, window, flat=flat),
        has_tool_messages=lambda: queries.has_tool_messages(session, wanted, get_settings().held_out_percent),
        card=lambda name: _card(shape.exporter, wanted, progress, name),
    )
    yield from form.exporter.write(content)


def preview(session: Session, shape: Shape, wanted: ExportFilter, rows: int) -> list[Row]:
    """The first rows, as an export with the same filter would begin."""
    percent = get_settings().held_out_percent
    found: list[Row] = []
    for each in queries.sources(session, wanted, percent, limit=rows, steps=shape.exporter.labels_steps):
        source = treated(each, wanted.private)
        if source is not None:
            found += [orjson.loads(line) for line in lines_of(source, shape, wanted)]
    return found[:rows]


def lines_of(source: Source, shape: Shape, wanted: ExportFilter, *, flat: bool = False) -> Iterator[bytes]:
    """The rows of one annotation as lines of JSON; with ``flat`` what has no fixed columns is a string of JSON.

    What all rows of an annotation have in common is encoded once and appended to each.
    """
    common, rows = shape.exporter.rows(source, wanted.min_strength, flat=flat)
    ending = b"," + orjson.dumps(common, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)[1:]
    return (orjson.dumps(row, option=orjson.OPT_UTC_Z)[:-1] + ending for row in rows)


def _card(shape: RowShape, wanted: ExportFilter, progress: Progress, name: str) -> str:
    return card(
        name=name,
        purpose=" ".join(part for part in (shape.purpose, shape.leaves_out) if part),
        columns=shape.columns(),
        wanted=wanted,
        counts={"rows": progress.rows, "held_out_rows": progress.held_out_rows},
        beside=dict.fromkeys(shape.beside, "what the tool reads beside them"),
        private=progress.private,
    )


def _lines(
    session: Session,
    shape: Shape,
    wanted: ExportFilter,
    progress: Progress,
    window: changes.Window | None,
    *,
    flat: bool,
) -> Iterator[bytes]:
    percent = get_settings().held_out_percent
    found = None if window is None else changes.changed(session, window)
    first = {} if flat else _first(session, shape, wanted, percent)
    also = None if found is None else found.reported()
    rest = queries.sources(session, wanted, percent, steps=shape.exporter.labels_steps, also=also)
    for each in chain(first.values(), (each for each in rest if each.annotation_id not in first)):
        source = treated(each, wanted.private, progress.private)
        if source is None:
            continue
        lines = list(lines_of(source, shape, wanted, flat=flat))
        progress.rows += len(lines)
        if lines:
            progress.annotation_ids.append(source.annotation_id)
        if split_of(source.content_hash, percent) is Split.HELD_OUT:
            progress.held_out_rows += len(lines)
        else:
            progress.train_rows += len(lines)
        yield b"".join(lines)
    if found is not None:
        nothing = dict.fromkeys(each.name for each in shape.exporter.columns())
        for row in changes.removed(session, wanted, found):
            progress.rows += 1
            yield orjson.dumps(nothing | row, option=orjson.OPT_APPEND_NEWLINE)


def _first(session: Session, shape: Shape, wanted: ExportFilter, percent: int) -> dict[int, Source]:
    """One annotation for each thing that a row of this shape may lack, which has it.

    Their rows come first, so that who guesses the types of a file by its beginning sees all of them.
    """
    first: dict[int, Source] = {}
    for name in queries.present(session, wanted, percent, shape.exporter.rare):
        with closing(queries.sources(session, wanted, percent, also=queries.RARE[name])) as having:
            found = next((each for each in having if _has_rows(each, shape, wanted)), None)
        if found is not None:
            first[found.annotation_id] = found
    return first


def _has_rows(each: Source, shape: Shape, wanted: ExportFilter) -> bool:
    source = treated(each, wanted.private)
    return source is not None and any(True for _ in lines_of(source, shape, wanted))


def unwritable(session: Session) -> Iterator[tuple[int, Shape, str]]:
    """Annotations whose rows Parquet cannot hold, each with the shape and Arrow's reason."""
    for shape in (each for each in Shape if not each.exporter.same_texts):
        for held in _held(session, shape):
            for annotation_id, reason in unwritable_in_parquet(held, shape.exporter.columns()):
                yield annotation_id, shape, reason


def _held(session: Session, shape: Shape) -> Iterator[dict[int, bytes]]:
    """The lines of a few hundred annotations at a time, by annotation."""
    held: dict[int, bytes] = {}
    steps = shape.exporter.labels_steps
    for source in queries.sources(session, ExportFilter(), get_settings().held_out_percent, steps=steps):
        held[source.annotation_id] = b"".join(lines_of(source, shape, ExportFilter(), flat=True))
        if len(held) >= queries.STREAM_ROWS:
            yield held
            held = {}
    yield held
