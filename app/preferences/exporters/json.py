"""JSON: all rows as one list."""

from __future__ import annotations

from collections.abc import Iterator

from app.kernel.locales import N_
from app.preferences.exporters.jsonl import CHUNK_BYTES
from app.preferences.exporters.kinds import Content, FileFormat, joined


def write(content: Content) -> Iterator[bytes]:
    """The list, a chunk at a time."""
    return joined(_pieces(content), CHUNK_BYTES)


def _pieces(content: Content) -> Iterator[bytes]:
    before = b"[\n"
    for lines in content.lines(False):
        if lines:
            yield before + lines[:-1].replace(b"\n", b",\n")  # a line of JSON holds no other line break
            before = b",\n"
    yield b"\n]\n" if before == b",\n" else b"[]\n"


FORMAT = FileFormat(
    label=N_("JSON"),
    purpose=N_("JSON is one list, for tools that read no lines."),
    media_type="application/json",
    schema={"type": "array", "items": {"type": "object"}},
    write=write,
)
