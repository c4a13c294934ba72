"""Parquet: what Arrow reads out of the lines of JSON, a row group at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from app.kernel.locales import N_
from app.preferences.exporters.kinds import Content, FileFormat, joined
from training.formats.columns import Column, ListOf, Scalar, Type

if TYPE_CHECKING:
    import pyarrow as pa  # brings NumPy along: a fifth of a second that every start of every process would pay

ROW_GROUP_BYTES = 8 * 1024 * 1024


class Pipe(io.RawIOBase):
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


def write(content: Content) -> Iterator[bytes]:
    """The file, a row group at a time."""
    import pyarrow.parquet

    schema = schema_of(content.columns, with_tools=content.has_tool_messages())
    pipe = Pipe()
    with pyarrow.parquet.ParquetWriter(pipe, schema, compression="zstd") as writer:
        for lines in joined(content.lines(True), ROW_GROUP_BYTES):
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


def unwritable(held: Mapping[int, bytes], columns: Iterable[Column]) -> Iterator[tuple[int, str]]:
    """Of the lines of some annotations those that Parquet cannot hold, each with Arrow's reason."""
    return _unwritable(held, schema_of(columns, with_tools=True))


def _unwritable(held: Mapping[int, bytes], schema: pa.Schema) -> Iterator[tuple[int, str]]:
    import pyarrow as pa

    if not any(held.values()):
        return
    try:
        _table(b"".join(held.values()), schema)
    except pa.ArrowException as error:
        if len(held) == 1:
            yield next(iter(held)), str(error).splitlines()[0]
        else:
            for annotation_id, lines in held.items():
                yield from _unwritable({annotation_id: lines}, schema)


def schema_of(columns: Iterable[Column], *, with_tools: bool) -> pa.Schema:
    """The columns. Tool calls are in the messages only where some prompt has any: templates test for their presence."""
    import pyarrow as pa

    scalars = _scalars(with_tools=with_tools)

    def arrow(kind: Type) -> pa.DataType:
        if isinstance(kind, Scalar):
            return scalars[kind]
        if isinstance(kind, ListOf):
            return pa.list_(arrow(kind.item))
        return pa.struct({name: arrow(each) for name, each in kind.fields.items()})

    return pa.schema({each.name: arrow(each.type) for each in columns})


def _scalars(*, with_tools: bool) -> dict[Scalar, pa.DataType]:
    import pyarrow as pa

    text = pa.string()
    call = pa.struct({"id": text, "type": text, "function": pa.struct({"name": text, "arguments": text})})
    extra = {"name": text, "tool_call_id": text, "tool_calls": pa.list_(call)} if with_tools else {}
    return {
        Scalar.TEXT: text,
        Scalar.INT8: pa.int8(),
        Scalar.INT16: pa.int16(),
        Scalar.INT32: pa.int32(),
        Scalar.INT64: pa.int64(),
        Scalar.FLOAT: pa.float64(),
        Scalar.BOOL: pa.bool_(),
        Scalar.TIME: pa.timestamp("us", tz="UTC"),
        Scalar.JSON: text,
        Scalar.PROMPT: pa.list_(pa.struct({"role": text, "content": text, **extra})),
        Scalar.ANSWER: pa.list_(pa.struct({"role": text, "content": text})),
    }


FORMAT = FileFormat(
    label=N_("Parquet"),
    purpose=N_("Parquet is for datasets and data frames."),
    media_type="application/vnd.apache.parquet",
    schema={"type": "string", "format": "binary"},
    write=write,
)
