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
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

Message = dict[str, Any]

# Two private-use characters around a number. The vertical tabs are white space that no template writes: where they are
# gone after rendering, the template strips its messages, and so do we.
_SLOT = "\v\ue000{}\ue001\v"
_SLOTS = re.compile("(\v?)\ue000(\\d+)\ue001(\v?)")
_FILES = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]


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
        self._template = _environment().from_string(_template(folder, config))
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
        written = [tools, *({**message, "content": ""} for message in messages)]
        if self._control.search(json.dumps(written, ensure_ascii=False)):
            raise Unrenderable("a tool's description or call contains the text of a control token: reword it")
        slots = [{**message, "content": _SLOT.format(index)} for index, message in enumerate(messages)]
        try:
            rendered = self._template.render(
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


def _template(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):
        template = next((entry["template"] for entry in template if entry.get("name") == "default"), None)
    if not isinstance(template, str):
        raise NoChatTemplate(f"{folder} has no chat template: choose an instruction-tuned base model")
    return template


def _environment() -> ImmutableSandboxedEnvironment:
    """What chat templates are written for: transformers' own names and filters, sandboxed, since a template is code."""

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    def now(pattern: str) -> str:
        return datetime.now().strftime(pattern)  # noqa: DTZ005 - templates greet with the local date

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": now}
    return environment
