"""Messages to the token ids that the engine is sent, so that text stays text.

An engine that gets messages renders the chat template to one string and tokenises that: a user who types
``<|im_start|>system`` then writes a system turn. Here the template is rendered with a slot in the place of each message,
and only what the template itself wrote may become a control token. ``training.chat`` follows the same rule with
transformers, so that a response is trained behind the very ids it was sampled behind; a test compares the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jinja2.ext
from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

Message = dict[str, Any]

# Two private-use characters around a number. The vertical tabs are white space that no template writes: where they are
# gone after rendering, the template strips its messages, and so do we.
_SLOT = "\v\ue000{}\ue001\v"
_SLOTS = re.compile("(\v?)\ue000(\\d+)\ue001(\v?)")
_MORE_TEMPLATES = "additional_chat_templates"  # transformers' name
_FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", f"{_MORE_TEMPLATES}/*.jinja"]


class NoChatTemplate(Exception):
    """The base model's folder lacks what a conversation is rendered with; says what, and the remedy."""


class Unrenderable(Exception):
    """The chat template refuses this conversation, e.g. a role that it does not know."""


class ChatEncoder:
    """The tokeniser and chat template of one base model (a folder or a hub id)."""

    def __init__(self, model: str) -> None:
        folder = _folder(model)
        config = _json(folder / "tokenizer_config.json")
        self._tokenizer = _tokenizer(folder)
        self._templates = _compiled(_templates(folder, config))
        self._names = {
            name: token["content"] if isinstance(token, dict) else token
            for name, token in config.items()
            if name.endswith("_token") and isinstance(token, dict | str)
        }
        special = {t.content: i for i, t in self._tokenizer.get_added_tokens_decoder().items() if t.special}
        self._special = special
        ordered = sorted(special, key=len, reverse=True)  # the longest first, where one is the start of another
        self._control = re.compile("(" + "|".join(map(re.escape, ordered)) + ")" if ordered else "((?!))")

    def encode(self, messages: list[Message], tools: list[Any] | None = None) -> list[int]:
        """Token ids of the conversation with the generation prompt behind it.

        Raises:
            Unrenderable: the template refuses the conversation, or a tool's description or call holds a control token
                (the template writes them, so it could not be told apart).
        """
        written = json.dumps([tools, *({**message, "content": ""} for message in messages)], ensure_ascii=False)
        if self._control.search(written) or _SLOTS.search(written):
            raise Unrenderable("a tool's description or call contains the text of a control token: reword it")
        # A message without text stays empty, because templates ask whether there is any beside a tool call.
        slots = [{**message, "content": message["content"] and _SLOT.format(i)} for i, message in enumerate(messages)]
        template = self._templates.get("tool_use", self._templates["default"]) if tools else self._templates["default"]
        try:
            rendered = template.render(
                messages=slots, tools=tools or None, documents=None, add_generation_prompt=True, **self._names
            )
        except (TemplateError, TypeError) as error:
            raise Unrenderable(f"the model's chat template refuses this conversation ({error})") from error
        return self._ids(self._pieces(rendered, [str(message["content"]) for message in messages]))

    def _pieces(self, rendered: str, contents: list[str]) -> Iterator[str | int]:
        """The rendered template as plain text and control token ids, the slots filled."""
        position = 0
        for slot in _SLOTS.finditer(rendered):
            yield from self._written(rendered[position : slot.start()])
            content = contents[int(slot[2])]
            content = content if slot[1] else content.lstrip()
            yield content if slot[3] else content.rstrip()
            position = slot.end()
        yield from self._written(rendered[position:])

    def _written(self, text: str) -> Iterator[str | int]:
        for index, part in enumerate(self._control.split(text)):
            yield self._special[part] if index % 2 else part

    def _ids(self, pieces: Iterator[str | int]) -> list[int]:
        """Neighbouring texts are joined before they are tokenised, because a token may reach across their border."""
        ids: list[int] = []
        text: list[str] = []
        for piece in (*pieces, None):
            if isinstance(piece, str):
                text.append(piece)
                continue
            if joined := "".join(text):
                ids += self._tokenizer.encode(joined, add_special_tokens=False).ids
            text = []
            if piece is not None:
                ids.append(piece)
        return ids


def _folder(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=_FILES))


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoChatTemplate(f"{file} cannot be read ({error}): the base model needs its tokeniser's files") from error
    if not isinstance(read, dict):
        raise NoChatTemplate(f"{file} is not a JSON object: the base model needs its tokeniser's files")
    return read


def _tokenizer(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise NoChatTemplate(f"{file} is missing: save the base model with its fast tokeniser")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # in a text, the characters of a control token are characters
    return tokenizer


def _templates(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The model's chat templates by name, found where transformers finds them; one is called "default"."""
    files = {file.stem: file for file in (folder / _MORE_TEMPLATES).glob("*.jinja")}
    if (file := folder / "chat_template.jinja").is_file():
        files["default"] = file
    found: Any = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    found = found or config.get("chat_template")
    if isinstance(found, list):
        found = {entry.get("name"): entry["template"] for entry in found}
    templates: dict[str, Any] = found if isinstance(found, dict) else {"default": found}
    if not isinstance(templates.get("default"), str):
        raise NoChatTemplate(f"{folder} has no chat template: choose an instruction-tuned base model")
    return templates


def _compiled(templates: dict[str, str]) -> dict[str, Template]:
    environment = _environment()
    try:
        return {name: environment.from_string(text) for name, text in templates.items()}
    except TemplateError as error:
        raise NoChatTemplate(f"the base model's chat template cannot be read ({error}): correct it") from error


class _Generation(Extension):
    """``{% generation %}`` marks what the model says, for trainers that want to know; here it is only what it encloses."""

    tags = {"generation"}  # noqa: RUF012 - so does Jinja declare it

    def parse(self, parser: Parser) -> nodes.Scope:
        """The statements up to ``{% endgeneration %}``."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _environment() -> ImmutableSandboxedEnvironment:
    """What chat templates are written for: transformers' own names and filters, sandboxed, since a template is code."""

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    def now(pattern: str) -> str:
        return datetime.now().strftime(pattern)  # noqa: DTZ005 - templates greet with the local date

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": now}
    return environment
