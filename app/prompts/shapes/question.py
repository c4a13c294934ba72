"""A question with its answer (GSM8K)."""

from __future__ import annotations

from app.prompts.fields import Record, text, text_or_number, user
from app.prompts.messages import Message
from app.prompts.shapes import Read


def _read(record: Record, key: str) -> list[Message]:
    record.reference = text_or_number(record.take("answer"), "answer")
    return [user(text(record.take(key), key))]


SHAPE = Read(name="Question", keys=("question",), read=_read, is_task=True, place=21)
