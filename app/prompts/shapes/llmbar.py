"""LLMBar: an ``input`` with two outputs, and under ``label`` which of them keeps to the instruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.restating import numbered, prefer
from app.prompts.shapes import Answered, Restated


def _restate(record: Mapping[str, Any]) -> Restated | None:
    if not {"input", "output_1", "output_2"} <= record.keys() or "instruction" in record:
        return None
    rest = dict(record)
    responses, asked = numbered(rest), rest.pop("input")
    if rest.get("label") in (1, 2):
        prefer(responses, 1 if rest["label"] == 1 else -1)
    return Restated(records=[{**rest, "prompt": asked, "responses": responses}])


SHAPE = Answered(name="LLMBar", keys=("output_1",), restate=_restate, place=36)
