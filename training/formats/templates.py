"""Chat templates: found where transformers finds them, compiled in a sandbox, and rendered with slots for the texts.

A slot is a number between two private-use characters. It stands where a text stood, so that afterwards what the template
wrote can be told from what a person wrote. White space around a text stays outside of its slot, where the template can
strip it; `tojson` marks a slot that it has quoted, so that the text is quoted in its turn.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import jinja2.ext
from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]  # role, content, and where tools are used name, tool_calls, tool_call_id

TODAY = date(2024, 7, 26)
"""What a template is told that the date is: the day that Llama's own names where nobody asks the clock. A prompt with the
true date would be another one every night, and nobody would train behind what was sampled."""
MORE_TEMPLATES = "additional_chat_templates"  # transformers' name
TOOL_USE = f"{MORE_TEMPLATES}/tool_use.jinja"
SLOT = re.compile("\ue000(\\d+)([ja]*)\ue001")
THINKING = re.compile("(</?think>)")
NOTHING = re.compile("((?!))")
_ESCAPED = re.compile(r"\\ue000(\d+)([ja]*)\\ue001")


class NoChatTemplate(Exception):
    """The base model lacks what a conversation is rendered with; says what, and the remedy."""


class Unrenderable(Exception):
    """The chat template refuses this conversation, e.g. a role that it does not know."""


class Slots:
    """The texts of one conversation, each under its number."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, bool]] = []
        """A text, and whether a model said it."""

    def put(self, text: str, *, said: bool = False) -> str:
        """A slot for a text, with the white space around it."""
        core = text.strip()
        if not core:
            return text
        self.texts.append((core, said))
        before, _, after = text.partition(core)
        return f"{before}\ue000{len(self.texts) - 1}\ue001{after}"

    def message(self, message: Message, markup: re.Pattern[str]) -> Message:
        """A message with its text in slots; the tags around a model's thinking stay, since templates look for them."""
        content = str(message["content"] or "")
        others = {k: self.masked(v, markup) for k, v in message.items() if k not in {"role", "content"}} | {
            "role": message["role"]
        }
        if message.get("role") != "assistant":
            return {**others, "content": self.put(content)}
        parts = THINKING.split(content)
        slots = (part if index % 2 else self.put(part, said=True) for index, part in enumerate(parts))
        return {**others, "content": "".join(slots)}

    def masked(self, value: Any, pattern: re.Pattern[str]) -> Any:
        """A tool or a call, in which only the texts that hold `pattern` are in slots: templates look at the others."""
        if isinstance(value, str):
            return self.put(value) if pattern.search(value) else value
        if isinstance(value, Mapping):
            return {key: self.masked(inner, pattern) for key, inner in value.items()}
        return [self.masked(inner, pattern) for inner in value] if isinstance(value, list | tuple) else value

    def of(self, found: re.Match[str]) -> tuple[str, bool]:
        """The text of a slot as it is to be read in its place, and whether a model said it."""
        text, said = self.texts[int(found[1])]
        for quoting in found[2]:
            text = json.dumps(text, ensure_ascii=quoting == "a")[1:-1]
        return text, said


def render(
    templates: Mapping[str, Template],
    messages: Sequence[Message],
    tools: Sequence[Any] | None = None,
    *,
    add_generation_prompt: bool,
    names: Mapping[str, str],
    markup: re.Pattern[str],
) -> tuple[str, Slots]:
    """The conversation as text with slots, and what is in them; the template called "tool_use" is for prompts with tools.

    The arguments of calls are given as objects, which most templates want, and as text where that is refused. Tools that
    change nothing are tools that the model does not see: an answer without them would pass for one with them.

    Raises:
        Unrenderable: the template refuses it, or shows nothing of its tools.
    """
    template = templates.get("tool_use", templates["default"]) if tools else templates["default"]
    options = {"documents": None, "add_generation_prompt": add_generation_prompt, **names}
    text, slots = _rendered(template, messages, tools, options, markup)
    if tools and _is_same(text, template, messages, options, markup):
        raise Unrenderable("the model's chat template shows no tools")
    return text, slots


def _is_same(
    text: str, template: Template, messages: Sequence[Message], options: Mapping[str, Any], markup: re.Pattern[str]
) -> bool:
    """Whether the template writes the same without any tools; slots are numbered after those of the tools."""
    try:
        bare, _ = _rendered(template, messages, None, options, markup)
    except Unrenderable:
        return False
    return SLOT.sub("\ue000\ue001", bare) == SLOT.sub("\ue000\ue001", text)


def _rendered(
    template: Template,
    messages: Sequence[Message],
    tools: Sequence[Any] | None,
    options: Mapping[str, Any],
    markup: re.Pattern[str],
) -> tuple[str, Slots]:
    objects = [_as_objects(message) for message in messages]
    refusals: list[Exception] = []
    for conversation in (objects, messages) if objects != list(messages) else (objects,):
        slots = Slots()
        shown = slots.masked(tools, markup) or None
        try:
            texts = [slots.message(message, markup) for message in conversation]
            return template.render(messages=texts, tools=shown, **options), slots
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            refusals.append(error)
    raise Unrenderable(f"the model's chat template refuses this conversation ({refusals[0]})") from refusals[0]


def _as_objects(message: Message) -> Message:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_as_object(call) for call in calls]}


def _as_object(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call


def read(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """A model's chat templates by name; one is called "default". `config` is its tokenizer_config.json.

    Raises:
        NoChatTemplate: it has none.
    """
    files = {file.stem: file for file in (folder / MORE_TEMPLATES).glob("*.jinja")}
    if (file := folder / "chat_template.jinja").is_file():
        files["default"] = file
    found: Any = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    return by_name(found or config.get("chat_template"), str(folder))


def by_name(found: Any, model: str) -> dict[str, str]:
    """Templates as a tokenizer holds them (one text, several by name, or a list of both) by name.

    Raises:
        NoChatTemplate: none is called "default".
    """
    if isinstance(found, list):
        found = {entry.get("name"): entry["template"] for entry in found}
    templates: dict[str, Any] = dict(found) if isinstance(found, dict) else {"default": found}
    if not isinstance(templates.get("default"), str):
        raise NoChatTemplate(f"{model} has no chat template: choose an instruction-tuned base model")
    return templates


def names_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The tokens that templates call by name (bos_token, eos_token), from a tokenizer_config.json."""
    return {
        name: token["content"] if isinstance(token, dict) else token
        for name, token in config.items()
        if name.endswith("_token") and isinstance(token, dict | str)
    }


def compiled(templates: Mapping[str, str]) -> dict[str, Template]:
    """Templates that can be rendered.

    Raises:
        NoChatTemplate: one is not written in Jinja.
    """
    try:
        return {name: _compiled(text) for name, text in templates.items()}
    except TemplateError as error:
        raise NoChatTemplate(f"the base model's chat template cannot be read ({error}): correct it") from error


@lru_cache(maxsize=16)
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


class _Generation(Extension):
    """``{% generation %}`` marks what the model says, for trainers that want to know; here it is only what it encloses."""

    tags = {"generation"}  # noqa: RUF012 - so does Jinja declare it

    def parse(self, parser: Parser) -> nodes.Scope:
        """The statements up to ``{% endgeneration %}``."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _to_json(value: Any, **options: Any) -> str:
    options = {"ensure_ascii": False, **options}
    mark = "a" if options["ensure_ascii"] else "j"
    written = json.dumps(value, **options)
    if options["ensure_ascii"]:
        written = _ESCAPED.sub("\ue000\\1\\2\ue001", written)
    return SLOT.sub(lambda slot: f"\ue000{slot[1]}{slot[2]}{mark}\ue001", written)


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    """What chat templates are written for: transformers' own names and filters, sandboxed, since a template is code."""

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": TODAY.strftime}
    return environment
