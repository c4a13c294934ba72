"""Answers that call tools, step by step: ask, read the calls, run them, show what came back, and ask again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from workers.tools.calls import Call, NotACall, calls_in
from workers.tools.protocol import Tool, ToolFailed, shown
from workers.tools.schemas import BadSchema, fault

MOST_STEPS: Final = 8
"""Times that a model is asked for one answer."""

Message = dict[str, Any]
Ask = Callable[[list[Message], list[dict[str, Any]]], str]
"""The model: the conversation and the tools in, its next turn as text out."""
_TAGGED: Final = re.compile(r"<tool_call>.*?(?:</tool_call>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Trace:
    """How an answer came about.

    Attributes:
        turns: What was added to the conversation: assistant and tool messages, as prompts hold them.
        ended: "answered" by words, "broken" by a call that could not be read, or by "steps", of which there were too many.
        failed: Why calls did not run, in their order.
    """

    turns: list[Message]
    ended: Literal["answered", "broken", "steps"]
    failed: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether it may be learnt from: it came to an answer, and every call ran."""
        return self.ended == "answered" and not self.failed


def converse(prompt: Sequence[Message], ask: Ask, tools: Sequence[Tool], *, most: int = MOST_STEPS) -> Trace:
    """Ask until the model answers in words, at most ``most`` times. A call that fails is told to the model, which may mend it."""
    offered = [shown(tool) for tool in tools]
    turns: list[Message] = []
    failed: list[str] = []
    for _ in range(most):
        said = ask([*prompt, *turns], offered)
        try:
            calls = calls_in(said)
        except NotACall as error:
            return Trace([*turns, {"role": "assistant", "content": said}], "broken", [*failed, str(error)])
        if not calls:
            return Trace([*turns, {"role": "assistant", "content": said}], "answered", failed)
        numbered = [(f"call_{_calls(turns) + number}", call) for number, call in enumerate(calls, 1)]
        turns.append(_calling(said, numbered))
        for name, call in numbered:
            answer, why = _run(call, tools, offered)
            failed += [why] if why else []
            turns.append({"role": "tool", "name": call.name, "tool_call_id": name, "content": answer})
    return Trace(turns, "steps", failed)


def _run(call: Call, tools: Sequence[Tool], offered: list[dict[str, Any]]) -> tuple[str, str]:
    """What a call came to, and why it did not run."""
    try:
        why = fault(call, offered)
        if why is None:
            tool = next(tool for tool in tools if tool.name == call.name)
            return tool.run(call.arguments), ""
    except (ToolFailed, BadSchema) as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001  # a tool that breaks is an answer that is not kept, and no more
        why = f"{call.name} broke: {type(error).__name__}"
    return f"Error: {why}", why


def _calling(said: str, numbered: Sequence[tuple[str, Call]]) -> Message:
    """The assistant's message in the form in which prompts store it: what it said beside the calls, and the calls."""
    return {
        "role": "assistant",
        "content": _TAGGED.sub("", said).strip() if "<tool_call>" in said else "",
        "tool_calls": [
            {
                "id": name,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for name, call in numbered
        ],
    }


def _calls(turns: Sequence[Message]) -> int:
    return sum(len(turn.get("tool_calls", ())) for turn in turns)
