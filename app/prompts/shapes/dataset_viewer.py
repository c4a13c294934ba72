"""Rows as the dataset viewer of a hub answers them: the record is wrapped with its number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused
from app.prompts.shapes import Wrapper

_KEYS = frozenset({"row_idx", "row", "truncated_cells"})


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    row = record.get("row")
    if not isinstance(row, dict) or not record.keys() <= _KEYS:
        return None
    if record.get("truncated_cells"):
        raise Refused(N_("was cut short by the dataset viewer: download the file itself"))
    return {key: value for key, value in record.items() if key == "row_idx"} | row


SHAPE = Wrapper(name="Dataset viewer", unwrap=_unwrap, place=0)
