"""Records of Argilla."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.shapes import Unread, responses_of


def _why_not(record: Mapping[str, Any]) -> str | None:
    return responses_of('a record of Argilla ("fields")') if isinstance(record.get("fields"), dict) else None


SHAPE = Unread(name="Argilla", why_not=_why_not, place=3)
