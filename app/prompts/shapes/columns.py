"""A whole table in one record, as pandas writes it unless it is told otherwise: columns by row number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.shapes import Unread

WHOLE_COLUMNS = N_('holds whole columns, not one prompt: save the table as records (pandas: orient="records")')


def _why_not(record: Mapping[str, Any]) -> str | None:
    columns = [value for value in record.values() if isinstance(value, dict) and value]
    if not columns or len(columns) != len(record):
        return None
    return WHOLE_COLUMNS if all(key.isdecimal() for each in columns for key in each) else None


SHAPE = Unread(name="Whole columns", why_not=_why_not, place=5)
