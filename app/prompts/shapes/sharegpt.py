"""Conversations as ShareGPT writes them: ``{from, value}``."""

from __future__ import annotations

from app.prompts.fields import Record, json_cell, listed, messages_of
from app.prompts.messages import Message
from app.prompts.shapes import Read


def _read(record: Record, key: str) -> list[Message]:
    return messages_of(record, listed(json_cell(record.take(key), key), key))


SHAPE = Read(name="ShareGPT", keys=("conversations", "conversation"), read=_read, place=12)
