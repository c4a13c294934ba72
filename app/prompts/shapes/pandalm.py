"""PandaLM: an instruction with the responses of two models, and what each of three people said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.restating import numbered
from app.prompts.shapes import Answered, Restated

_SAID = re.compile(r"annotator\d+|idx|cmp_key")


def _restate(record: Mapping[str, Any]) -> Restated | None:
    if not {"response1", "response2"} <= record.keys() or not any(_SAID.fullmatch(key) for key in record):
        return None
    rest = dict(record)
    said = {key: rest.pop(key) for key in list(rest) if _SAID.fullmatch(key)}
    responses = numbered(rest)
    models = said["cmp_key"].split("_") if isinstance(said.get("cmp_key"), str) else []
    if len(models) == len(responses):
        for response, model in zip(responses, models, strict=True):
            response["model"] = model
    if empty(rest.get("input")):
        rest.pop("input", None)
    return Restated(records=[{**rest, "judgements": [said], "responses": responses}])


SHAPE = Answered(name="PandaLM", keys=("response1",), restate=_restate, place=35)
