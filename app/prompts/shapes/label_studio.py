"""Tasks of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.shapes import Unread, responses_of


def _why_not(record: Mapping[str, Any]) -> str | None:
    done = "annotations" in record or "predictions" in record or len(record) <= 2
    return responses_of('a task of Label Studio ("data")') if done and isinstance(record.get("data"), dict) else None


SHAPE = Unread(name="Label Studio", why_not=_why_not, place=4)
