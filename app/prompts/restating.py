"""The words in which shapes with responses are read: transcripts, conversations that part, numbered answers, preferences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused, kind_of
from app.prompts.messages import ROLES, empty

PREFERENCE = "preference"
"""What the file says of a response beside another: ``chosen``, ``rejected`` or ``tie``. It is kept and counts as nothing."""
CHOSEN, REJECTED, TIE = "chosen", "rejected", "tie"
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_NUMBERED = re.compile(
    r"(response|output|completion|answer|generation|candidate|reply)[ _-]?(\d{1,2}|[a-h])", re.IGNORECASE
)

Turn = Mapping[str, Any]


def transcript(text: Any) -> list[dict[str, Any]] | None:
    """The turns of a text that is written as ``Human: … Assistant: …`` (hh-rlhf); None of any other."""
    first = _TURN.match(text) if isinstance(text, str) else None
    if first is None or first[1] != "Human" or "\n\nAssistant:" not in text:
        return None
    _, *parts = _TURN.split(text)
    return [
        {"role": _SPEAKERS[speaker], "content": said.strip()}
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    ]


def turn(item: Any) -> tuple[str | None, Any]:
    """Who says what in a message, in whichever form: two messages are the same that say the same."""
    if not isinstance(item, dict):
        return None, item
    role = item.get("role", item.get("from"))
    said = item.get("content", item.get("value"))
    return (ROLES.get(role.lower()) if isinstance(role, str) else None), said


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two lists of messages say the same."""
    return [turn(each) for each in one] == [turn(each) for each in other]


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """With how many messages both begin."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if turn(a) != turn(b)), min(len(one), len(other)))


def ends_with_answer(turns: Any, key: str) -> list[Any]:
    """A conversation that the assistant ends, or the refusal of anything else."""
    if not isinstance(turns, list) or not turns:
        raise Refused(
            N_('has a "{key}" that is {kind}: write text or a list of messages'), key=key, kind=kind_of(turns)
        )
    if turn(turns[-1])[0] != "assistant":
        raise Refused(N_('has a "{key}" that does not end with the assistant: it must end with the response'), key=key)
    return turns


def numbered_keys(record: Mapping[str, Any]) -> list[str]:
    """The keys of :func:`numbered`, in the order of its responses."""
    return [key for _, key in _numbers(record)]


def _numbers(record: Mapping[str, Any]) -> list[tuple[re.Match[str], str]]:
    found = [(match, key) for key in record if (match := _NUMBERED.fullmatch(key))]
    if len({match[1].lower() for match, _ in found}) != 1:
        return []
    return sorted(found, key=lambda each: (len(each[0][2]), each[0][2].lower()))


def numbered(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The responses in keys such as ``response_1`` or ``output_b``, taken out of ``record``, with their models.

    A key whose value says nothing is left to be refused as a blank response.
    """
    responses = []
    for match, key in _numbers(record):
        names = (f"model_{match[2]}", f"{key}_model", f"{key}-model", f"model{match[2]}")
        model = next((name for name in names if not empty(record.get(name))), None)
        said = {"text": record.pop(key)}
        responses.append(said if model is None else {**said, "model": record.pop(model)})
    return responses


def prefer(responses: list[dict[str, Any]], first: float) -> None:
    """Say of two responses what their file prefers: above 0 the first one, below 0 the second, 0 neither."""
    if len(responses) == 2:
        words = (TIE, TIE) if first == 0 else (CHOSEN, REJECTED) if first > 0 else (REJECTED, CHOSEN)
        for response, word in zip(responses, words, strict=True):
            response[PREFERENCE] = word


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number, and not merely true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)
