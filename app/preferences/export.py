"""Streams preferences out: canonical rows and TRL rows, as JSON Lines and as Parquet.

Whatever the size, memory holds a few hundred annotations (JSON Lines) or one row group (Parquet). A row is built once, as
JSON: each text of an annotation is encoded a single time and spliced into all rows that repeat it, and Parquet is what
Arrow reads out of the same lines. Texts are as sampled; people appear by their pseudonym only.

The canonical row is described in ``docs/formats.md``. TRL's row has ``prompt``, ``chosen`` and ``rejected`` as lists of
messages, ``tools``, and what a trainer filters by. What has another inner shape in each row is a string of JSON, because
columns cannot hold it: tools and the arguments of tool calls for TRL, in Parquet also spans and the sampling.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
from sqlalchemy.orm import Session

from app.preferences import queries
from app.preferences.forms import ExportFilter, Format, Shape
from app.preferences.queries import Source
from app.prompts.messages import strict
from app.settings import get_settings
from training.formats.pairs import EDITED, Stated, derive, expand
from training.formats.prompts import Split, split_of

if TYPE_CHECKING:
    import pyarrow as pa  # brings NumPy along: a fifth of a second that every start of every process would pay

CHUNK_BYTES = 256 * 1024
ROW_GROUP_BYTES = 8 * 1024 * 1024
# A key cannot stand inside a text: its quotes would be escaped there. Of plain messages role and content are texts.
SPECIAL = re.compile(r'"(?:tool_calls|tool_call_id|name)"|"(?:role|content)": [^"]')
Row = dict[str, Any]


@dataclass
class Progress:
    """What has passed through a stream so far; filled while it is read."""

    rows: int = 0
    train_rows: int = 0
    held_out_rows: int = 0
    annotation_ids: array[int] = field(default_factory=lambda: array("q"))


def stream(
    session: Session, shape: Shape, form: Format, wanted: ExportFilter, progress: Progress | None = None
) -> Iterator[bytes]:
    """Yield the export as bytes, a chunk at a time; the bytes of all chunks together are the file."""
    progress = progress if progress is not None else Progress()
    if form is Format.JSONL:
        yield from _joined(_lines(session, shape, wanted, progress), CHUNK_BYTES)
    else:
        yield from _parquet(session, shape, wanted, progress)


def write_export(session: Session, out: BinaryIO, shape: Shape, form: Format, wanted: ExportFilter) -> int:
    """Write the export into ``out``, which may be a pipe, and return the number of rows."""
    progress = Progress()
    out.writelines(stream(session, shape, form, wanted, progress))
    return progress.rows


def preview(session: Session, shape: Shape, wanted: ExportFilter, rows: int) -> list[Row]:
    """The first rows, as an export with the same filter would begin."""
    percent = get_settings().held_out_percent
    found: list[Row] = []
    for source in queries.sources(session, wanted, percent, limit=rows):
        found += [orjson.loads(line) for line in lines_of(source, shape, wanted)]
    return found[:rows]


def lines_of(source: Source, shape: Shape, wanted: ExportFilter, *, flat: bool = False) -> Iterator[bytes]:
    """The rows of one annotation as lines of JSON; with ``flat`` what has no fixed columns is a string of JSON.

    What all rows of an annotation have in common is encoded once and appended to each.
    """
    common, rows = _canonical(source, wanted, flat=flat) if shape is Shape.CANONICAL else _trl(source, wanted)
    ending = b"," + orjson.dumps(common, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)[1:]
    return (orjson.dumps(row)[:-1] + ending for row in rows)


def _canonical(source: Source, wanted: ExportFilter, *, flat: bool) -> tuple[Row, Iterator[Row]]:
    """Every pair with all that is known of it: what the rows share, and what each adds."""
    nested = str if flat else orjson.Fragment
    common = {
        "prompt": orjson.Fragment(_prompt(source)),
        "outcome": source.outcome.value,
        "ranking": source.ranking,
        "edit_source": source.edit_source,
        "nothing_to_improve": source.nothing_to_improve,
        "attributes": _attributes(source.attributes),
        "flags": _flags(source.flags),
        "spans": nested(source.spans),
        "comment": source.comment,
        "annotation_id": source.annotation_id,
        "prompt_id": source.prompt_id,
        "source_id": source.source_id,
        "reference": source.reference,
        "tests": None if source.tests is None else nested(source.tests),
        "metadata": None if source.metadata is None else nested(source.metadata),
        "parent_prompt_id": source.parent_prompt_id,
        "dialogue": source.dialogue,
        "turn": None if source.dialogue is None else _turn(source.messages),
        "system_kept": source.system_kept,
        "prompt_hash": source.content_hash.hex(),
        "round": source.round,
        "batch": source.batch,
        "capability": source.capability,
        "annotator": source.annotator,
        "active_seconds": source.active_seconds,
        "created_at": source.created_at.astimezone(UTC),
        "split": split_of(source.content_hash, get_settings().held_out_percent).value,
        "tools": None if source.tools is None else nested(source.tools),
    }
    return common, _canonical_pairs(source, wanted, nested)


def _attributes(by_candidate: str) -> list[Row]:
    """A list, because a column for each candidate would be thousands of columns."""
    return [
        {"candidate_id": int(candidate), "name": name, "value": value}
        for candidate, places in orjson.loads(by_candidate).items()
        for name, value in places.items()
    ]


def _flags(by_candidate: str) -> list[Row]:
    return [
        {"candidate_id": int(candidate), "flag": flag}
        for candidate, flags in orjson.loads(by_candidate).items()
        for flag in flags
    ]


def _turn(messages: str) -> int:
    """How many messages of the annotator lead to a comparison of a dialogue."""
    return sum(message["role"] == "user" for message in orjson.loads(messages))


def _canonical_pairs(source: Source, wanted: ExportFilter, nested: Callable[[str], Any]) -> Iterator[Row]:
    texts = _messages(source)
    keys = (None, *source.candidate_ids)
    sampling = dict(zip(keys, (None, *map(nested, source.samplings)), strict=True))
    checkpoint = dict(zip(keys, (None, *source.checkpoints), strict=True))
    finished = dict(zip(keys, (None, *source.finish_reasons), strict=True))
    position: dict[int | None, int | None] = {None: None}
    position |= {candidate: place for place, candidate in enumerate(source.order_shown)}
    for pair in _pairs(source, wanted):
        chosen, rejected = pair.chosen, pair.rejected
        yield {
            "id": f"{source.annotation_id}:{'' if chosen is None else chosen}:{rejected}",
            "chosen": texts[chosen],
            "rejected": texts[rejected],
            "edited": texts[EDITED] if pair.edited else None,
            "strength": pair.strength,
            "chosen_checkpoint": checkpoint[chosen],
            "rejected_checkpoint": checkpoint[rejected],
            "chosen_finish_reason": finished[chosen],
            "rejected_finish_reason": finished[rejected],
            "sampling": {"chosen": sampling[chosen], "rejected": sampling[rejected]},
            "position_shown": {"chosen": position[chosen], "rejected": position[rejected]},
        }


def _trl(source: Source, wanted: ExportFilter) -> tuple[Row, Iterator[Row]]:
    """What TRL's reward and DPO trainers read: ranked pairs only, with the edit as a winner of its own."""
    texts = _messages(source)
    pairs = expand(_pairs(source, wanted), wanted.min_strength or 1)
    rows = ({"chosen": texts[pair.better], "rejected": texts[pair.worse], "strength": pair.strength} for pair in pairs)
    common = {
        "prompt": orjson.Fragment(_prompt(source)),
        "tools": source.tools,
        "annotation_id": source.annotation_id,
        "split": split_of(source.content_hash, get_settings().held_out_percent).value,
    }
    return common, rows


def _pairs(source: Source, wanted: ExportFilter) -> Iterator[Stated[Any]]:
    pairs = derive(source.outcome, source.ranking, source.strengths, source.order_shown, source.edited_candidate_id)
    return (pair for pair in pairs if (pair.strength or 0) >= (wanted.min_strength or 0))


def _messages(source: Source) -> dict[int | str | None, orjson.Fragment | None]:
    """Each candidate's text, and the edited one, as a list of one assistant message, encoded once.

    None stands for "nothing was chosen", so that it is looked up like any candidate.
    """
    texts: dict[int | str | None, str] = dict(zip(source.candidate_ids, source.texts, strict=True))
    if source.edited_text is not None:
        texts[EDITED] = source.edited_text
    encoded = {key: orjson.dumps([{"role": "assistant", "content": text}]) for key, text in texts.items()}
    return {None: None, **{key: orjson.Fragment(text) for key, text in encoded.items()}}


def _prompt(source: Source) -> str | bytes:
    """The messages in their one form, in every shape, even where they were stored before there was one."""
    if not SPECIAL.search(source.messages):
        return source.messages
    return orjson.dumps(strict(orjson.loads(source.messages)))


def _lines(
    session: Session, shape: Shape, wanted: ExportFilter, progress: Progress, *, flat: bool = False
) -> Iterator[bytes]:
    percent = get_settings().held_out_percent
    for source in queries.sources(session, wanted, percent):
        lines = list(lines_of(source, shape, wanted, flat=flat))
        progress.rows += len(lines)
        if lines:
            progress.annotation_ids.append(source.annotation_id)
        if split_of(source.content_hash, percent) is Split.HELD_OUT:
            progress.held_out_rows += len(lines)
        else:
            progress.train_rows += len(lines)
        yield b"".join(lines)


def _joined(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in chunks of about ``size``."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(held)
            held, length = [], 0
    if length:
        yield b"".join(held)


class _Pipe(io.RawIOBase):
    """What Arrow writes into, to be taken out again a chunk at a time; it never needs to seek."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        """Whether bytes can be written: always."""
        return True

    def tell(self) -> int:
        """How many bytes were written in all."""
        return self._written

    def write(self, data: Any) -> int:
        """Keep ``data`` until it is taken."""
        self._held.append(bytes(data))
        self._written += len(self._held[-1])
        return len(self._held[-1])

    def take(self) -> bytes:
        """What was written since the last call."""
        taken = b"".join(self._held)
        self._held.clear()
        return taken


def _parquet(session: Session, shape: Shape, wanted: ExportFilter, progress: Progress) -> Iterator[bytes]:
    import pyarrow.parquet

    with_tools = queries.has_tool_messages(session, wanted, get_settings().held_out_percent)
    schema = parquet_schema(shape, with_tools=with_tools)
    pipe = _Pipe()
    with pyarrow.parquet.ParquetWriter(pipe, schema, compression="zstd") as writer:
        for lines in _joined(_lines(session, shape, wanted, progress, flat=True), ROW_GROUP_BYTES):
            writer.write_table(_table(lines, schema))
            yield pipe.take()
    yield pipe.take()


def _table(lines: bytes, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json

    options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    # One block: Arrow refuses a line that is longer than a block, and a prompt may be long.
    reading = pyarrow.json.ReadOptions(block_size=len(lines) + 1, use_threads=False)
    return pyarrow.json.read_json(pa.BufferReader(lines), reading, options).select(schema.names).cast(schema)


def unwritable(session: Session) -> Iterator[tuple[int, Shape, str]]:
    """Annotations whose rows Parquet cannot hold, each with the shape and Arrow's reason."""
    percent = get_settings().held_out_percent
    for shape in Shape:
        schema = parquet_schema(shape, with_tools=True)
        held: dict[int, bytes] = {}
        for source in queries.sources(session, ExportFilter(), percent):
            held[source.annotation_id] = b"".join(lines_of(source, shape, ExportFilter(), flat=True))
            if len(held) >= queries.STREAM_ROWS:
                yield from _unwritable(held, shape, schema)
                held.clear()
        yield from _unwritable(held, shape, schema)


def _unwritable(held: dict[int, bytes], shape: Shape, schema: pa.Schema) -> Iterator[tuple[int, Shape, str]]:
    import pyarrow as pa

    if not any(held.values()):
        return
    try:
        _table(b"".join(held.values()), schema)
    except pa.ArrowException as error:
        if len(held) == 1:
            yield next(iter(held)), shape, str(error).splitlines()[0]
        else:
            for annotation_id, lines in held.items():
                yield from _unwritable({annotation_id: lines}, shape, schema)


def parquet_schema(shape: Shape, *, with_tools: bool) -> pa.Schema:
    """The columns. Tool calls are in the messages only where some prompt has any: templates test for their presence."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    call = pa.struct({"id": text, "type": text, "function": pa.struct({"name": text, "arguments": text})})
    extra = {"name": text, "tool_call_id": text, "tool_calls": pa.list_(call)} if with_tools else {}
    prompt = pa.list_(pa.struct({"role": text, "content": text, **extra}))
    answer = pa.list_(pa.struct({"role": text, "content": text}))
    messages = {"prompt": prompt, "chosen": answer, "rejected": answer}
    if shape is Shape.TRL:
        facts = {"strength": pa.int8(), "annotation_id": number, "split": text}
        return pa.schema({**messages, "tools": text, **facts})
    both = {"chosen": text, "rejected": text}
    attribute = pa.struct({"candidate_id": number, "name": text, "value": pa.int16()})
    flag = pa.struct({"candidate_id": number, "flag": text})
    return pa.schema(
        {
            "id": text,
            **messages,
            "edited": answer,
            "strength": pa.int8(),
            "outcome": text,
            "ranking": pa.list_(pa.list_(number)),
            "edit_source": text,
            "nothing_to_improve": pa.bool_(),
            "attributes": pa.list_(attribute),
            "flags": pa.list_(flag),
            "spans": text,
            "comment": text,
            "annotation_id": number,
            "prompt_id": number,
            "source_id": text,
            "reference": text,
            "tests": text,
            "metadata": text,
            "parent_prompt_id": number,
            "dialogue": number,
            "turn": pa.int16(),
            "system_kept": text,
            "prompt_hash": text,
            "round": pa.int32(),
            "batch": text,
            "capability": text,
            "annotator": text,
            "chosen_checkpoint": text,
            "rejected_checkpoint": text,
            "chosen_finish_reason": text,
            "rejected_finish_reason": text,
            "sampling": pa.struct(both),
            "position_shown": pa.struct({"chosen": pa.int8(), "rejected": pa.int8()}),
            "active_seconds": pa.float64(),
            "created_at": pa.timestamp("us", tz="UTC"),
            "split": text,
            "tools": text,
        }
    )
