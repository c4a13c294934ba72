"""What of an imported file will not reach the model, because the chat template in service leaves it out or refuses it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.kernel import stored_words
from app.kernel.chat_templates import InService
from app.kernel.locales import N_, number
from app.kernel.locales import gettext as _
from app.prompts.messages import Message
from app.prompts.models import Prompt
from app.prompts.records import ParsedPrompt
from app.prompts.units import place
from training.formats.templates import THINKING
from training.formats.unseen import Look, Part, look

REFUSED = "refused"
"""Beside the parts: the template renders nothing of the prompt, so there will be no response."""
NAMED_LINES = 5
NAMED_REASONS = 5
WHAT = {
    Part.SYSTEM: N_("system prompt"),
    Part.TOOLS: N_("tools"),
    Part.CALLS: N_("tool calls"),
    Part.RESULTS: N_("tool results"),
    Part.THINKING: N_("earlier thinking"),
    Part.NAMES: N_("speakers' names"),
    Part.MESSAGES: N_("earlier messages"),
}


@dataclass
class Reach:
    """Counts over the prompts of a file; every prompt is given to :meth:`note` once."""

    served: InService | None
    _found: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """Line numbers by part and reason."""
    _known: dict[tuple[Any, ...], Look] = field(default_factory=dict)

    def note(self, prompt: ParsedPrompt) -> None:
        """Look at one prompt of the file."""
        seen = self._look(prompt)
        if seen.refusal is not None:
            reasons = sum(part == REFUSED for part, _ in self._found)
            known = (REFUSED, seen.refusal) in self._found
            reason = seen.refusal if known or reasons < NAMED_REASONS else N_("the model's chat template refuses them")
            self._found.setdefault((REFUSED, reason), []).append(prompt.line)
        for part in seen.unseen:
            self._found.setdefault((part.value, ""), []).append(prompt.line)

    def report(self) -> list[dict[str, Any]]:
        """As it is kept with the upload: one entry a part and reason, the most frequent first."""
        return [
            {
                "part": part,
                "reason": reason,
                "prompts": len(lines),
                "lines": lines[:NAMED_LINES],
                "model": self.served.model if self.served else "",
            }
            for (part, reason), lines in sorted(self._found.items(), key=lambda entry: (-len(entry[1]), entry[0]))
        ]

    def _look(self, prompt: ParsedPrompt) -> Look:
        """A template decides by roles, lengths and tools, so what it does with the same ones is rendered once."""
        if self.served is None:
            return Look()
        if any("tool_calls" in message for message in prompt.messages):  # whose shapes are many
            return _rendered(self.served, prompt.messages, prompt.tools)
        shape = _shape(prompt)
        if shape not in self._known:
            self._known[shape] = _rendered(self.served, prompt.messages, prompt.tools)
        return self._known[shape]


def sentence(entry: Mapping[str, Any], unit: str) -> str:
    """An entry of :meth:`Reach.report` for people, with the first lines (items, rows) that it is about."""
    prompts, lines = entry["prompts"], [number(line) for line in entry["lines"]]
    named = [*lines, _("{n} more", n=number(prompts - len(lines)))] if prompts > len(lines) else lines
    if prompts == 1:
        return _said(_("1 prompt ({place})", place=place(unit, entry["lines"][0])), entry, one=True)
    all_but_one, last = ", ".join(named[:-1]), named[-1]
    if unit == "line":
        who = _("{n} prompts (lines {some} and {last})", n=number(prompts), some=all_but_one, last=last)
    elif unit == "item":
        who = _("{n} prompts (items {some} and {last})", n=number(prompts), some=all_but_one, last=last)
    else:
        who = _("{n} prompts (rows {some} and {last})", n=number(prompts), some=all_but_one, last=last)
    return _said(who, entry, one=False)


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What the report of an upload says of it; one of an earlier release says nothing."""
    return [sentence(entry, report["unit"]) for entry in report.get("unseen", [])]


def warnings_of(served: InService | None, prompt: Prompt) -> list[str]:
    """The same of one stored prompt, under the template that is in service now."""
    if served is None:
        return []
    seen = _rendered(served, prompt.messages, prompt.tools)
    found = [(part.value, "") for part in Part if part in seen.unseen]
    found += [(REFUSED, seen.refusal)] if seen.refusal is not None else []
    entries = ({"part": part, "reason": reason, "model": served.model} for part, reason in found)
    return [_said(_("This prompt"), entry, one=True) for entry in entries]


def left_out(served: InService) -> list[str]:
    """What the model in service sees of no prompt, for ``corral doctor``: each part is tried in a prompt of its own."""
    tools = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked: Message = {"role": "user", "content": "x"}
    called: list[Message] = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "y", "tool_call_id": "abcdefghi"},
        {"role": "assistant", "content": "z"},
    ]
    usable = (
        tools if _rendered(served, [asked], tools).refusal is None else None
    )  # else they refuse what calls them, too
    prompts: dict[Part, tuple[list[Message], list[Any] | None]] = {
        Part.SYSTEM: ([{"role": "system", "content": "s"}, asked], None),
        Part.TOOLS: ([asked], tools),
        Part.CALLS: ([asked, *called, asked], usable),
        Part.RESULTS: ([asked, *called, asked], usable),
        Part.THINKING: ([asked, {"role": "assistant", "content": "<think>t</think>\n\nz"}, asked], None),
    }
    seen = {part: _rendered(served, messages, given) for part, (messages, given) in prompts.items()}
    return [WHAT[part] for part, look in seen.items() if look.refusal is not None or part in look.unseen]


def _said(who: str, entry: Mapping[str, Any], *, one: bool) -> str:
    if entry["part"] == REFUSED:
        said = (
            N_("{who} gets no response: {reason}. Change the prompt, or serve another model.")
            if one
            else N_("{who} get no response: {reason}. Change the prompt, or serve another model.")
        )
        return _(said, who=who, reason=stored_words.said(entry["reason"]))
    said = (
        N_("{who} reaches the model without its {what}, which the chat template of {model} leaves out.")
        if one
        else N_("{who} reach the model without their {what}, which the chat template of {model} leaves out.")
    )
    remedy = _("Put what the model must see into a message, or serve a model whose template includes it.")
    return f"{_(said, who=who, what=_(WHAT[Part(entry['part'])]), model=entry['model'])} {remedy}"


def _rendered(served: InService, messages: list[Message], tools: list[Any] | None) -> Look:
    return look(served.templates, messages, tools, names=served.names)


def _shape(prompt: ParsedPrompt) -> tuple[Any, ...]:
    tools = hashlib.sha256(json.dumps(prompt.tools).encode()).digest() if prompt.tools else None
    thoughts = ([bool(text.strip()) for text in THINKING.split(each["content"])] for each in prompt.messages)
    said = [(each["role"], "name" in each, *texts) for each, texts in zip(prompt.messages, thoughts, strict=True)]
    return (tools, *said)
