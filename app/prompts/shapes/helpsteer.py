"""HelpSteer: one rated response a row (1 and 2), or two with a preference from -3 to 3 (preferences of 2, and 3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.prompts.messages import empty
from app.prompts.restating import is_number, numbered, prefer
from app.prompts.shapes import Answered, Restated

RATINGS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
STRENGTHS = ("preference_strength", "overall_preference")
"""Below 0 the first response is the better one."""
_TURN = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")
_SPEAKERS = {"User": "user", "Assistant": "assistant"}


def _restate(record: Mapping[str, Any]) -> Restated | None:
    rest = dict(record)
    strength = next((key for key in STRENGTHS if is_number(rest.get(key))), None)
    if strength is not None:
        responses = numbered(rest)
        prefer(responses, -rest[strength])
    elif sum(key in rest for key in RATINGS) >= len(RATINGS) - 1 and "response" in rest:
        responses = [{"text": rest.pop("response"), **{key: rest.pop(key) for key in RATINGS if key in rest}}]
    else:
        return None
    if not responses:
        return None
    if isinstance(rest.get("context"), list) and empty(rest.get("prompt")):
        rest["messages"] = rest.pop("context")
    elif isinstance(rest.get("prompt"), str):
        rest["prompt"] = _turns(rest["prompt"])
    return Restated(records=[{**rest, "responses": responses}])


def _turns(prompt: str) -> str | list[dict[str, Any]]:
    """The turns of a prompt, which stand in one text with a mark between them."""
    first, *parts = _TURN.split(prompt)
    if not parts:
        return prompt
    said = [{"role": "user", "content": first}]
    for speaker, text in zip(parts[::2], parts[1::2], strict=True):
        said.append({"role": _SPEAKERS[speaker], "content": text})
    return said


SHAPE = Answered(name="HelpSteer", keys=("context", *STRENGTHS), restate=_restate, place=31)
