"""How a response that called tools came about, as people read it: each call with its arguments, each result, errors marked.

Nothing of it tells who wrote it: not the form in which a model writes calls, no ids, no times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.kernel.markup import to_html

Message = dict[str, Any]
BLIND = ("role", "content", "name", "tool_call_id", "tool_calls", "failed")
EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call, with its value as text; what is no text is JSON."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call and what came back; ``failed`` where the tool could not answer. ``excerpt`` is how the result begins."""

    name: str
    arguments: list[Argument]
    result: str
    excerpt: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One turn that called tools: what was said beside the calls, and the calls."""

    html: Markup
    calls: list[Call]


def steps_of(messages: Sequence[Message] | None) -> list[Step]:
    """The steps before a response's last turn; none where no tool was called."""
    answers = {each["tool_call_id"]: each for each in messages or () if each["role"] == "tool"}
    return [
        Step(
            to_html(each["content"]) if each["content"] else Markup(),
            [_call(call, answers.get(call["id"])) for call in each["tool_calls"]],
        )
        for each in messages or ()
        if each["role"] == "assistant"
    ]


def blind(messages: Sequence[Message] | None) -> list[Message]:
    """The same as messages, without the text as it was sampled: models write calls each in their own way."""
    return [{key: message[key] for key in BLIND if key in message} for message in messages or ()]


def _call(call: Message, answer: Message | None) -> Call:
    function = call["function"]
    result = answer["content"] if answer else ""
    line = " ".join(result[: 4 * EXCERPT].split())
    return Call(
        name=function["name"],
        arguments=_arguments(function["arguments"]),
        result=result,
        excerpt=line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…",
        failed=bool(answer and answer.get("failed")),
    )


def _arguments(written: str) -> list[Argument]:
    try:
        known = json.loads(written)
    except ValueError:
        return [Argument("", written)]
    return [
        Argument(str(name), value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))
        for name, value in known.items()
    ]
