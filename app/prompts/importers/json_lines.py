"""JSON Lines: one object a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from app.kernel.locales import N_
from app.kernel.locales import gettext as _
from app.prompts.bounded_json import Refused
from app.prompts.importers import Importer, Limits, Row, check_count, head_of, too_long, value_of


def _why_not(text: bytes, _suffix: str) -> str | None:
    head = head_of(text)
    if head.startswith(b"[") or re.match(rb"\{\s*\n", head):
        return _("This looks like one JSON document, but its name says JSON Lines: rename it to .json.")
    if head[:1] not in (b"{", b'"') and b"{" not in head:
        return _("This looks like plain text, but its name says JSON Lines: write one JSON object per line.")
    return None


def _rows(text: bytes, limits: Limits) -> Iterator[Row]:
    start, number = 0, 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        number += 1
        check_count(number, "line")
        if end - start > limits.record_bytes:
            yield number, too_long(limits)
        else:
            line = text[start:end].strip(b" \t\r")
            if line:
                yield number, _object(line)
        start = end + 1


def _object(raw: bytes) -> Any:
    """A line's value. A bare text is one only in a list that says so: alone on a line it is most often a broken line."""
    value = value_of(raw)
    return Refused(N_('is text, not an object: write {"prompt": "…"}')) if isinstance(value, str) else value


IMPORTER = Importer(
    name="JSON Lines", suffixes=(".jsonl", ".ndjson"), unit="line", why_not=_why_not, rows=_rows, place=1
)
