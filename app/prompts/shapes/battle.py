"""Battles of two models, as arenas write them: two conversations, or one prompt with two responses.

Of several turns the last answers are compared, and the verdict is theirs, where all that came before is the same. Elsewhere the
two models answered different conversations: the first answers that differ are compared, and the verdict is of neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import cell
from app.prompts.bounded_json import Refused
from app.prompts.messages import empty
from app.prompts.restating import ends_with_answer, prefer, shared, turn
from app.prompts.shapes import Answered, Restated

LATER = N_(
    "These battles went on for several turns, and those before the last answers differ between the two models. The first "
    "answers that differ are compared; the conversations, and who won them, are kept in the metadata of each prompt."
)
_WINNERS = {"model_a": 1.0, "a": 1.0, "model_b": -1.0, "b": -1.0}


def _restate(record: Mapping[str, Any]) -> Restated | None:
    rest = dict(record)
    if not empty(rest.get("conversation_a")) and not empty(rest.get("conversation_b")):
        return _conversations(rest)
    if not empty(rest.get("conversation_a")) or not empty(rest.get("conversation_b")):
        raise Refused(N_('is a battle with one conversation: "conversation_a" and "conversation_b" must both be there'))
    named = any(key in rest for key in ("model_a", "model_b", "winner_model_a"))
    if named and not empty(rest.get("response_a")) and not empty(rest.get("response_b")):
        return _of_table(rest)
    return None


def _conversations(rest: dict[str, Any]) -> Restated:
    one, other = (ends_with_answer(rest.pop(f"conversation_{side}"), f"conversation_{side}") for side in "ab")
    at = min(shared(one, other), len(one) - 1, len(other) - 1)  # both may have said the same to the end
    if at == 0 or turn(one[at - 1])[0] != "user":
        raise Refused(
            N_("has two conversations that do not part at an answer: a comparison needs one prompt and two answers")
        )
    later = max(len(one), len(other)) > at + 1
    responses = _answers(rest, one[at], other[at], whole=not later)
    if later:
        rest |= {"conversation_a": one, "conversation_b": other}
    # as a list of a message each: their parts are read as those of any other message
    return Restated(records=[{**rest, "messages": one[:at], "responses": responses}], note=LATER if later else None)


def _of_table(rest: dict[str, Any]) -> Restated:
    sides = [rest.pop(f"response_{side}") for side in "ab"]
    if (messages := _shared_turns(rest, *sides)) is not None:
        responses = _answers(rest, {"content": sides[0][-1]}, {"content": sides[1][-1]}, whole=True)
        del rest["prompt"]
        return Restated(records=[{**rest, "messages": messages, "responses": responses}])
    first = [side[0] if isinstance(side, list) else side for side in sides]
    later = any(isinstance(side, list) and len(side) > 1 for side in sides)
    if later:
        rest |= {"responses_a": sides[0], "responses_b": sides[1]}
    responses = _answers(rest, {"content": first[0]}, {"content": first[1]}, whole=not later)
    return Restated(records=[{**rest, "responses": responses}], note=LATER if later else None)


def _shared_turns(rest: Mapping[str, Any], one: Any, other: Any) -> list[dict[str, Any]] | None:
    """The conversation before the last answers, where both models gave the same answers until then."""
    asked = cell(rest.get("prompt"))
    if not all(isinstance(each, list) and len(each) > 1 for each in (asked, one, other)):
        return None
    if not len(asked) == len(one) == len(other) or one[:-1] != other[:-1]:
        return None
    talk = [(("user", said), ("assistant", answer)) for said, answer in zip(asked, one, strict=True)]
    return [{"role": role, "content": said} for pair in talk for role, said in pair][:-1]


def _answers(rest: dict[str, Any], one: Any, other: Any, *, whole: bool) -> list[dict[str, Any]]:
    responses = [
        {key: value for key, value in each.items() if key not in ("role", "from", "num_tokens")}
        for each in (one, other)
    ]
    for response, side in zip(responses, "ab", strict=True):
        if not empty(rest.get(f"model_{side}")):
            response["model"] = rest.pop(f"model_{side}")
    first = _first(rest)
    if whole and first is not None:
        prefer(responses, first)
    return responses


def _first(rest: dict[str, Any]) -> float | None:
    """How much the first one won by: 1, -1 or 0; None where the file does not say."""
    said = rest.get("winner")
    if isinstance(said, str) and said:
        return _WINNERS.get(said, 0.0 if "tie" in said or "both" in said else None)
    won = [str(rest.get(f"winner_{each}")).lower() in ("1", "1.0", "true") for each in ("model_a", "model_b", "tie")]
    return 1.0 if won[0] else -1.0 if won[1] else 0.0 if won[2] else None


SHAPE = Answered(name="Battle of two models", keys=("conversation_a",), restate=_restate, place=32)
