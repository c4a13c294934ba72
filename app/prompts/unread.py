"""Records of shapes that are known but not read: each is refused in a sentence that names what it is.

What only wraps a record (the dataset viewer's rows) is taken off instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.prompts.bounded_json import Refused
from app.prompts.messages import empty

_VIEWER_KEYS = frozenset({"row_idx", "row", "truncated_cells"})
_PRINTED = re.compile(r"""\s*(?:array\()?[\[({][\[({\s]*(?:'|"[^"]*",?\s+').*[\])}]\s*""", re.DOTALL)


def from_viewer(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record``, or the row that it wraps, as the dataset viewer of a hub answers them."""
    row = record.get("row")
    if not isinstance(row, dict) or not record.keys() <= _VIEWER_KEYS:
        return dict(record)
    if record.get("truncated_cells"):
        raise Refused("was cut short by the dataset viewer: download the file itself")
    return {key: value for key, value in record.items() if key == "row_idx"} | row


def check_shape(record: Mapping[str, Any]) -> None:
    """Refuse a record that brings responses to compare, or whole columns; :class:`Refused` names the shape."""
    shape = _with_responses(record)
    if shape is not None:
        raise Refused(f"is {shape}: responses cannot be imported yet; keep the prompt alone")
    if is_columns(record):
        raise Refused('holds whole columns, not one prompt: save the table as records (pandas: orient="records")')


def _with_responses(record: Mapping[str, Any]) -> str | None:
    given = [key for key in ("chosen", "rejected") if not empty(record.get(key))]
    if given:
        return f"a preference pair ({' and '.join(chr(34) + key + chr(34) for key in given)})"
    if not empty(record.get("conversation_a")) or not empty(record.get("conversation_b")):
        return 'a battle of two models ("conversation_a" and "conversation_b")'
    if isinstance(record.get("fields"), dict):
        return 'a record of Argilla ("fields")'
    if isinstance(record.get("data"), dict) and (
        "annotations" in record or "predictions" in record or len(record) <= 2
    ):
        return 'a task of Label Studio ("data")'
    return None


def is_columns(record: Mapping[str, Any]) -> bool:
    """Whether the values are columns by row number, as pandas writes a table unless it is told otherwise."""
    columns = [value for value in record.values() if isinstance(value, dict) and value]
    return bool(columns) and len(columns) == len(record) and all(key.isdecimal() for each in columns for key in each)


def looks_printed(text: str) -> bool:
    """Whether ``text`` is a list or object as Python or NumPy prints it, with single quotes."""
    return _PRINTED.fullmatch(text) is not None


def printed(key: str) -> Refused:
    """The refusal of such a text."""
    return Refused(f'has a "{key}" as Python prints it, not as JSON: write it with json.dumps')
