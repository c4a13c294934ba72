"""Answers that call tools, step by step: ask, read the calls, run them, show what came back, and ask again.

An answer is bounded in turns, tokens and seconds. Where a bound is met its last turn is what it ends with, its calls unrun.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from workers.tools.calls import Call, NotACall, calls_in
from workers.tools.protocol import Tool, ToolFailed, storable
from workers.tools.schemas import BadSchema, fault, fault_of

MOST_STEPS: Final = 8
"""Times that a model is asked for one answer."""
MOST_CALLS: Final = 8
"""Calls of one turn that are run."""
LIMIT_S: Final = 120.0
"""Seconds after which no more calls of one answer are run."""
MOST_SAID: Final = 1_000
"""Characters of why a call did not run."""
TOKENS_OF_ONE: Final = 4
"""Times the most tokens of one turn that all turns of an answer may have."""

Message = dict[str, Any]
Ended = Literal["answered", "broken", "cut", "steps", "tokens", "time", "unshown"]


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of a model. ``cut``: it ran into its limit of tokens."""

    text: str
    tokens: int = 0
    cut: bool = False


Ask = Callable[[list[Message], int], Awaitable[Said | None]]
"""The model: the steps so far and the most tokens in, its next turn out; None where it cannot be shown these steps."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one answer may take: turns, tokens of one turn, and seconds."""

    tokens: int
    steps: int = MOST_STEPS
    seconds: float = LIMIT_S

    @property
    def tokens_in_all(self) -> int:
        """Of all turns together."""
        return TOKENS_OF_ONE * self.tokens


@dataclass(frozen=True, slots=True)
class Trace:
    """How an answer came about.

    Attributes:
        steps: The turns before the last one and what tools answered, as messages; a turn has its text as it was sampled
            under ``said``, and the answer of a call that did not run has ``failed``.
        text: The last turn, as it was sampled.
        ended: "answered" by words; "broken" by a call that cannot be read; "cut" where the last turn ran into its limit; by too
            many "steps", "tokens" or too much "time"; or "unshown": the model's template cannot show what tools answered.
        failed: Why calls did not run, in their order.
    """

    steps: list[Message]
    text: str
    ended: Ended
    failed: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether it may be learnt from: it came to an answer, and every call ran."""
        return self.ended == "answered" and not self.failed


@dataclass(frozen=True, slots=True)
class Turned:
    """What follows a turn: how the answer ended with it, else the messages that its calls add, and why some did not run."""

    ended: Ended | None
    steps: list[Message] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def turned(
    said: Said,
    steps: Sequence[Message],
    tools: Sequence[Tool],
    offered: Sequence[Mapping[str, Any]],
    *,
    ends: float,
    at_once: asyncio.Semaphore | None = None,
) -> Turned:
    """Read the calls of a turn that follows ``steps``, and run them; none is begun after ``ends``, of the monotonic clock.

    The other arguments are those of :func:`converse`.
    """
    calls, ended = _read(said)
    if ended is not None:
        return Turned(ended, failed=[calls] if isinstance(calls, str) else [])
    assert not isinstance(calls, str)  # noqa: S101  # it would have ended there
    numbered = _numbered(calls, steps)
    made, failed = [_calling(said.text, numbered)], list[str]()
    for place, (name, call) in enumerate(numbered):
        answer, wrong = await _run(call, tools, offered, ends, at_once, place)
        failed += [wrong] if wrong else []
        result = {"role": "tool", "name": storable(call.name), "tool_call_id": name, "content": storable(answer)}
        made.append(result | ({"failed": True} if wrong else {}))
    return Turned(None, made, failed)


async def converse(
    ask: Ask,
    tools: Sequence[Tool],
    offered: Sequence[Mapping[str, Any]],
    bounds: Bounds,
    *,
    first: Said | None = None,
    at_once: asyncio.Semaphore | None = None,
) -> Trace:
    """Ask until the model answers in words, or a bound is met. A call that fails is told to the model, which may mend it.

    Args:
        ask: Asks the model.
        tools: What runs calls.
        offered: The tools as the prompt declares them, which calls are held to.
        bounds: Of the whole.
        first: The first turn, where it was sampled already.
        at_once: How many tools may run at once.
    """
    steps: list[Message] = []
    failed: list[str] = []
    ends = time.monotonic() + bounds.seconds
    said = first or await ask(steps, bounds.tokens)
    if said is None:
        raise ValueError("The model cannot be asked at all.")
    used, turns = said.tokens, 1
    while True:
        bound = None if _read(said)[1] else _bound(turns, used, ends, bounds)
        if bound is not None:
            return Trace(steps, said.text, bound, failed)
        turn = await turned(said, steps, tools, offered, ends=ends, at_once=at_once)
        if turn.ended is not None:
            return Trace(steps, said.text, turn.ended, failed + turn.failed)
        following = await ask(steps + turn.steps, min(bounds.tokens, bounds.tokens_in_all - used))
        if following is None:
            return Trace(steps, said.text, "unshown", failed)
        steps, failed = steps + turn.steps, failed + turn.failed
        said, used, turns = following, used + following.tokens, turns + 1


def _read(said: Said) -> tuple[list[Call] | str, Ended | None]:
    """The calls of a turn, or why they cannot be read; and whether the answer ends with it."""
    try:
        calls = calls_in(said.text)
    except NotACall as error:
        return str(error), "broken"
    if not calls:
        return calls, "answered"
    return calls, "cut" if said.cut else None


def _bound(turns: int, used: int, ends: float, bounds: Bounds) -> Ended | None:
    if turns >= bounds.steps:
        return "steps"
    if used >= bounds.tokens_in_all:
        return "tokens"
    return "time" if time.monotonic() >= ends else None


async def _run(
    call: Call,
    tools: Sequence[Tool],
    offered: Sequence[Mapping[str, Any]],
    ends: float,
    at_once: asyncio.Semaphore | None,
    place: int,
) -> tuple[str, str]:
    """What a call came to, and why it did not run."""
    why: str | None
    if place >= MOST_CALLS:
        why = f"no more than {MOST_CALLS} calls of one turn are run"
    elif time.monotonic() >= ends:
        why = "there was no time left"
    else:
        async with at_once or asyncio.Semaphore():
            answer, why = await asyncio.to_thread(_answer, call, tools, offered)
        if why is None:
            return answer, ""
    why = why[:MOST_SAID]
    return f"Error: {why}", why


def _answer(call: Call, tools: Sequence[Tool], offered: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """What the tool answers, or why it does not."""
    try:
        why = fault(call, offered)
        tool = next((tool for tool in tools if tool.name == call.name), None)
        if why is None and tool is None:
            why = f"no tool is called {call.name}"
        if why is None and tool is not None:
            why = fault_of(call.arguments, tool.parameters, call.name)
            if why is None:
                return tool.run(call.arguments), None
    except (ToolFailed, BadSchema) as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001  # a tool that breaks is an answer that is not kept, and no more
        why = f"{call.name} broke: {type(error).__name__}"
    return "", why


_TAGGED: Final = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)", re.DOTALL)


def _calling(said: str, numbered: Sequence[tuple[str, Call]]) -> Message:
    """The assistant's message in the form in which prompts store it: what it said beside the calls, and the calls."""
    return {
        "role": "assistant",
        "content": _TAGGED.sub("", said).strip() if "<tool_call>" in said else "",
        "tool_calls": [
            {
                "id": name,
                "type": "function",
                "function": {
                    "name": storable(call.name),
                    "arguments": storable(json.dumps(call.arguments, ensure_ascii=False)),
                },
            }
            for name, call in numbered
        ],
        "said": said,
    }


def _numbered(calls: Sequence[Call], steps: Sequence[Message]) -> list[tuple[str, Call]]:
    """Calls under numbers of our own: those of an endpoint would say whose they are."""
    before = sum(len(step.get("tool_calls", ())) for step in steps)
    return [(f"call_{before + number}", call) for number, call in enumerate(calls, 1)]
