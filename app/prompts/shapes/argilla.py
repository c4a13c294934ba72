"""Records of Argilla: ``fields`` hold the prompt and the responses, and what people said of them stands beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.shapes import Wrapper

_CHATS = ("messages", "conversation", "chat")
_TEXTS = ("prompt", "instruction", "question", "query", "input", "text")
_BESIDE = ("responses", "suggestions", "status", "vectors", "inserted_at", "updated_at", "_server_id", "dataset_id")


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    fields = record.get("fields")
    if not isinstance(fields, dict):
        return None
    rest = {key: value for key, value in record.items() if key not in ("fields", "metadata", *_BESIDE)}
    kept = dict(record["metadata"]) if isinstance(record.get("metadata"), dict) else {}
    beside = {key: record[key] for key in _BESIDE if not empty(record.get(key))}
    if beside:
        kept["argilla"] = beside
    return {**rest, **put_prompt(fields), "metadata": kept}


def put_prompt(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that people named, with the one that holds the conversation under the key by which it is read."""
    given = dict(fields)
    chat = next((key for key in (*_CHATS, "prompt", "context") if isinstance(given.get(key), list)), None)
    if chat is not None:
        turns = given.pop(chat)
        return {**given, "messages": turns}
    text = next((key for key in _TEXTS if not empty(given.get(key))), None)
    if text in ("query", "input", "text"):
        given["prompt"] = given.pop(text)
    return given


SHAPE = Wrapper(name="Argilla", unwrap=_unwrap, place=1)
