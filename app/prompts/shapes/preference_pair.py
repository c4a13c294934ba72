"""Preference pairs: ``chosen`` and ``rejected``, as TRL, hh-rlhf, UltraFeedback (binarized) and LLaMA-Factory write them.

Both may be whole conversations, which must part only at their last turn; one message each, or text, with the prompt beside them;
or transcripts (``Human: … Assistant: …``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused
from app.prompts.messages import empty
from app.prompts.restating import CHOSEN, PREFERENCE, REJECTED, ends_with_answer, same, transcript, turn
from app.prompts.shapes import Answered, Restated

SIDES = (CHOSEN, REJECTED)
_OF_SIDE = re.compile(r"(?:(chosen|rejected)[_-](.+))|(?:(.+)[_-](chosen|rejected))")
_MODEL = frozenset({"model", "model_name", "generator", "policy"})
_CONVERSATIONS = ("messages", "conversations", "conversation")


def _restate(record: Mapping[str, Any]) -> Restated | None:
    given = [side for side in SIDES if not empty(record.get(side))]
    if not given:
        return None
    if len(given) == 1:
        other = REJECTED if given[0] == CHOSEN else CHOSEN
        raise Refused(
            N_('has a "{given}" without a "{other}": write both, or keep the prompt alone'), given=given[0], other=other
        )
    rest = dict(record)
    before, answers = zip(*(_parted(rest.pop(side), side) for side in SIDES), strict=True)
    if not same(*before):
        raise Refused(
            N_('has a "chosen" and a "rejected" that answer different prompts: only their last turn may differ')
        )
    _put_prompt(rest, before[0], answers)
    said = _of_sides(rest)
    if turn(answers[0])[1] == turn(answers[1])[1]:
        raise Refused(N_('has the same text as "chosen" and as "rejected": nothing is left to compare'))
    responses = [
        {**_plain(answer), **said[side], PREFERENCE: side} for side, answer in zip(SIDES, answers, strict=True)
    ]
    return Restated(records=[{**rest, "responses": responses}])


def _parted(value: Any, side: str) -> tuple[list[Any], dict[str, Any]]:
    """What stands before a response, and the response as a message."""
    if isinstance(value, str):
        spoken = transcript(value)
        if spoken is None:
            return [], {"role": "assistant", "content": value}
        value = spoken
    turns = ends_with_answer([value] if isinstance(value, dict) else value, side)
    return list(turns[:-1]), turns[-1]


def _put_prompt(rest: dict[str, Any], before: list[Any], answers: tuple[dict[str, Any], ...]) -> None:
    """Leave in ``rest`` one conversation: what both responses stand behind, or what is given beside them."""
    spoken = transcript(rest.get("prompt"))
    if spoken is not None:
        turns = spoken[:-1] if turn(spoken[-1]) == ("assistant", "") else spoken
        rest["prompt"] = turns
    if not before:
        return
    said = rest.get("prompt")
    if said in (None, "", turn(before[-1])[1]) or (isinstance(said, list) and same(said, before)):
        rest.pop("prompt", None)
    else:
        raise Refused(N_('has a "prompt" that "chosen" and "rejected" do not continue: keep one of them'))
    for key in _CONVERSATIONS:
        beside = rest.get(key)
        if isinstance(beside, list) and (same(beside, before) or any(same(beside, [*before, a]) for a in answers)):
            rest.pop(key)
    rest["messages" if "messages" not in rest else _CONVERSATIONS[1]] = before


def _of_sides(rest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What ``score_chosen``, ``rejected-model`` and their like say, taken out of ``rest``, by side."""
    said: dict[str, dict[str, Any]] = {side: {} for side in SIDES}
    for key in list(rest):
        match = _OF_SIDE.fullmatch(key)
        if match is not None:
            name = match[2] or match[3]
            said[match[1] or match[4]]["model" if name in _MODEL else name] = rest.pop(key)
    return said


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key not in ("role", "from")}


SHAPE = Answered(name="Preference pair", keys=SIDES, restate=_restate, place=40)
