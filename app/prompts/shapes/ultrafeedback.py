"""UltraFeedback: an instruction with ``completions`` of several models, each with what annotators said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.shapes import Answered, Restated


def _restate(record: Mapping[str, Any]) -> Restated | None:
    given = record.get("completions")
    if (
        not isinstance(given, list)
        or not given
        or not all(isinstance(each, dict) and "response" in each for each in given)
    ):
        return None
    rest = {key: value for key, value in record.items() if key not in ("completions", "models")}
    return Restated(records=[{**rest, "responses": given}])


SHAPE = Answered(name="UltraFeedback", keys=("completions",), restate=_restate, place=30)
