"""LLaMA-Factory's older form of preferences: an instruction whose ``output`` is a list, the better answer first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.restating import prefer
from app.prompts.shapes import Answered, Restated


def _restate(record: Mapping[str, Any]) -> Restated | None:
    given = record.get("output")
    if "instruction" not in record or not isinstance(given, list) or len(given) < 2:
        return None
    rest = {key: value for key, value in record.items() if key != "output"}
    responses = [{"text": text, "rank": rank} for rank, text in enumerate(given)]
    prefer(responses, 1)
    return Restated(records=[{**rest, "responses": responses}])


SHAPE = Answered(name="LLaMA-Factory", keys=(), restate=_restate, place=34)
