"""Battles of two models, as arenas write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.shapes import Unread, responses_of


def _why_not(record: Mapping[str, Any]) -> str | None:
    if empty(record.get("conversation_a")) and empty(record.get("conversation_b")):
        return None
    return responses_of('a battle of two models ("conversation_a" and "conversation_b")')


SHAPE = Unread(name="Battle of two models", why_not=_why_not, place=2)
