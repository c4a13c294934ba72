"""JSON Lines: a row a line."""

from __future__ import annotations

from collections.abc import Iterator

from app.kernel.locales import N_
from app.preferences.exporters.kinds import Content, FileFormat, joined

CHUNK_BYTES = 256 * 1024


def _write(content: Content) -> Iterator[bytes]:
    return joined(content.lines(False), CHUNK_BYTES)


FORMAT = FileFormat(
    label=N_("JSONL"),
    purpose=N_("JSON Lines is for people and scripts."),
    media_type="application/jsonl",
    schema={"type": "string"},
    write=_write,
)
