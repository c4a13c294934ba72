"""Responses in numbered keys (``response_1``, ``response_2``, …), and one response a row with the name of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.responses import MODEL_KEYS, SAMPLING_KEYS
from app.prompts.restating import numbered
from app.prompts.shapes import Answered, Restated

_OF_RESPONSE = ("finish_reason", "completion_tokens", "rating", "ratings", "score", "rank", "sampling", *SAMPLING_KEYS)


def _restate(record: Mapping[str, Any]) -> Restated | None:
    if not empty(record.get("responses")):
        return None
    rest = dict(record)
    responses = numbered(rest)
    if responses:
        return Restated(records=[{**rest, "responses": responses}])
    model = next((key for key in MODEL_KEYS if not empty(rest.get(key))), None)
    said = [key for key in ("response", "completion", "output") if not empty(rest.get(key))]
    if model is None or len(said) != 1:
        return None
    response = {"text": rest.pop(said[0]), "model": rest.pop(model)}
    response |= {key: rest.pop(key) for key in _OF_RESPONSE if key in rest}
    return Restated(records=[{**rest, "responses": [response]}])


SHAPE = Answered(name="Numbered responses", keys=("response_1", "response_a"), restate=_restate, place=50)
