"""Turns as MT-Bench writes them: messages, or the user's texts, of which the first is the prompt."""

from __future__ import annotations

from app.prompts.fields import Record, json_cell, listed, turns_of
from app.prompts.messages import Message
from app.prompts.shapes import Read


def _read(record: Record, key: str) -> list[Message]:
    return turns_of(record, listed(json_cell(record.take(key), key), key), key)


SHAPE = Read(name="Turns", keys=("turns",), read=_read, place=13)
