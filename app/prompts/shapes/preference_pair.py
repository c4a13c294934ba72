"""Preference pairs, as TRL and most sets of preferences write them: ``chosen`` and ``rejected``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.shapes import Unread, responses_of


def _why_not(record: Mapping[str, Any]) -> str | None:
    given = [f'"{key}"' for key in ("chosen", "rejected") if not empty(record.get(key))]
    return responses_of(f"a preference pair ({' and '.join(given)})") if given else None


SHAPE = Unread(name="Preference pair", why_not=_why_not, place=1)
