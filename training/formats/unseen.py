"""What of a prompt never reaches the model, because its chat template does not show it.

Templates differ: one has no place for a system prompt, another for tools, and both may say nothing about it. Which parts
a template shows is not asked of its names and versions but seen: the prompt is rendered as it is for the engine, each
part with a mark, and a part whose mark is not in what came out is unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jinja2 import Template

from training.formats.templates import NOTHING, SLOT, THINKING, Message, Unrenderable, render

MARK = "Zq{}qZ"
"""Behind a name: some templates allow letters and digits only."""
_MARKS = re.compile(MARK.format(r"(\d+)"))


class Part(StrEnum):
    """What a prompt may hold."""

    SYSTEM = "system"
    TOOLS = "tools"
    CALLS = "tool_calls"
    RESULTS = "tool_results"
    THINKING = "thinking"
    NAMES = "names"
    """Of those who speak; the name of a tool at its result only repeats the call's."""
    MESSAGES = "messages"


@dataclass(frozen=True)
class Look:
    """The parts of one prompt that its template leaves out; or why it refuses the whole."""

    unseen: frozenset[Part] = frozenset()
    refusal: str | None = None


def look(
    templates: Mapping[str, Template],
    messages: Sequence[Message],
    tools: Sequence[Any] | None = None,
    *,
    names: Mapping[str, str],
) -> Look:
    """What the model would not see of this prompt; arguments as :func:`~training.formats.templates.render` takes them."""

    def rendered(shown: Sequence[Message], with_tools: Sequence[Any] | None) -> str:
        return render(templates, shown, with_tools, add_generation_prompt=True, names=names, markup=NOTHING)[0]

    marks, missing = _Marks(), set[Part]()
    try:
        text = rendered([marks.message(message) for message in messages], marks.tools(tools))
        missing = marks.missing(text)
    except Unrenderable:  # a name with a mark may be what it refuses
        try:
            text = rendered(messages, tools)
        except Unrenderable as refused:
            return Look(refusal=str(refused))
    slots = {int(found[1]) for found in SLOT.finditer(text)}
    unseen = {part for number, part in enumerate(_texts(messages)) if number not in slots}
    return Look(frozenset(unseen | missing))


class _Marks:
    """Marks in names, descriptions and arguments, where a template could write them or leave them out."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def missing(self, text: str) -> set[Part]:
        """Parts of which a mark is not in ``text``."""
        there = {int(found[1]) for found in _MARKS.finditer(text)}
        return {part for number, part in enumerate(self._parts) if number not in there}

    def message(self, message: Message) -> Message:
        marked = dict(message)
        if isinstance(message.get("name"), str) and message["role"] != "tool":
            marked["name"] += self._next(Part.NAMES)
        if isinstance(message.get("tool_calls"), list):
            marked["tool_calls"] = [self._call(call) for call in message["tool_calls"]]
        return marked

    def tools(self, tools: Sequence[Any] | None) -> list[Any] | None:
        return [self._tool(tool) for tool in tools] if tools else None

    def _tool(self, tool: Any) -> Any:
        if not isinstance(tool, dict):
            return tool
        if isinstance(tool.get("function"), dict):
            return {**tool, "function": self._tool(tool["function"])}
        marked = dict(tool)
        for key in ("name", "description"):
            if isinstance(tool.get(key), str):
                marked[key] += self._next(Part.TOOLS)
        parameters = tool.get("parameters")
        if isinstance(parameters, dict) and isinstance(parameters.get("properties"), dict):
            renamed = {name: f"{name}{self._next(Part.TOOLS)}" for name in parameters["properties"]}
            properties = {renamed[name]: value for name, value in parameters["properties"].items()}
            marked["parameters"] = {**parameters, "properties": properties}
            if isinstance(required := parameters.get("required"), list):
                again = [renamed.get(name, name) if isinstance(name, str) else name for name in required]
                marked["parameters"]["required"] = again
        return marked

    def _call(self, call: Any) -> Any:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return call
        marked = {**function, "name": function["name"] + self._next(Part.CALLS)}
        try:
            arguments = json.loads(function["arguments"])
        except (KeyError, TypeError, ValueError):
            arguments = None
        if isinstance(arguments, dict):
            marked["arguments"] = json.dumps({**arguments, self._next(Part.CALLS): 0}, ensure_ascii=False)
        return {**call, "function": marked}

    def _next(self, part: Part) -> str:
        self._parts.append(part)
        return MARK.format(len(self._parts) - 1)


def _texts(messages: Sequence[Message]) -> Iterator[Part]:
    """The part that each text in a slot belongs to, in the order of the slots (:meth:`Slots.message`)."""
    for message in messages:
        content = str(message["content"] or "")
        if message["role"] != "assistant":
            if content.strip():
                yield {"system": Part.SYSTEM, "tool": Part.RESULTS}.get(message["role"], Part.MESSAGES)
            continue
        pieces = ["", *THINKING.split(content), ""]  # texts at odd places, the tags around them beside
        for place in range(1, len(pieces), 2):
            if pieces[place].strip():
                thought = pieces[place - 1] == "<think>" or pieces[place + 1] == "</think>"
                yield Part.THINKING if thought else Part.MESSAGES
