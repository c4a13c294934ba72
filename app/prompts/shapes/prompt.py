"""A plain prompt: text, a list of messages (TRL's prompt-only form), or the user's texts."""

from __future__ import annotations

from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused, loads
from app.prompts.fields import Record, listed, looks_printed, printed, text, turns_of, user
from app.prompts.messages import Message
from app.prompts.shapes import Read


def _read(record: Record, key: str) -> list[Message]:
    value = record.take(key)
    if isinstance(value, str):
        return [user(text(value, key))]
    return turns_of(record, listed(value, key, N_("text or a list of messages")), key)


def _listed_in_cell(value: Any) -> Any:
    """A cell's text as the list of messages, or of the user's texts, that it is JSON of; anything else as it stands."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        found = loads(value.encode("utf-8", "surrogatepass"))
    except Refused:
        if looks_printed(value):
            raise printed("prompt") from None
        return value
    turns = (
        isinstance(found, list)
        and found
        and (
            all(isinstance(each, str) for each in found)
            or all(isinstance(each, dict) and ("role" in each or "from" in each) for each in found)
        )
    )
    return found if turns else value


SHAPE = Read(name="Prompt", keys=("prompt",), read=_read, from_cell=_listed_in_cell, place=10)
