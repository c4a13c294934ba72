"""Tasks of Label Studio: ``data`` holds the prompt and the responses; annotations and predictions stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.shapes import Wrapper
from app.prompts.shapes.argilla import put_prompt


def _unwrap(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    data = record.get("data")
    done = "annotations" in record or "predictions" in record or len(record) <= 2
    if not done or not isinstance(data, dict):
        return None
    beside = {key: value for key, value in record.items() if key not in ("id", "data") and not empty(value)}
    given = put_prompt(data)
    items = given.get("items")
    if isinstance(items, list) and items and all(isinstance(each, dict) and "body" in each for each in items):
        del given["items"]
        given["responses"] = [
            {"text": each["body"], **{key: value for key, value in each.items() if key != "body"}} for each in items
        ]
    kept = {"label_studio": beside} if beside else {}
    task = {"id": record["id"]} if "id" in record else {}
    return {**given, **task, **({"metadata": kept} if kept else {})}


SHAPE = Wrapper(name="Label Studio", unwrap=_unwrap, place=2)
