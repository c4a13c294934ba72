"""From a record of any known shape to one prompt: messages that end at a user turn, with what belongs to them.

Known shapes, by the key that holds the conversation:

===============================  ====================================================================================
``prompt``                       text, a list of messages (TRL's prompt-only form), or the user's texts
``messages``, ``conversations``  ``{role, content}`` (OpenAI) or ``{from, value}`` (ShareGPT); also ``conversation``
``turns``                        messages, or the user's texts (MT-Bench): the first is the prompt, later ones are kept
``instruction``                  with ``input``/``output`` (Alpaca) or ``instances[0]`` (Self-Instruct)
``question``                     with ``answer`` (GSM8K)
===============================  ====================================================================================

Nothing is trimmed or repaired: a record is imported as it is, or refused with a reason. Keys that mean nothing here are
kept under ``metadata``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from app.prompts.bounded_json import Refused, kind_of, loads
from app.prompts.messages import MEDIA, Message, empty, read
from app.prompts.unread import check_shape, from_viewer, looks_printed, printed
from training.formats.prompts import content_hash
from training.formats.texts import shows_nothing

CONVERSATION_KEYS = ("prompt", "messages", "conversations", "conversation", "turns")
TASK_KEYS = ("instruction", "question")
ID_KEYS = ("id", "key", "task_id", "prompt_id", "question_id")
"""Where a source names its prompts. The first is the prompt's id; the others stay in its metadata."""
RESPONSE_KEYS = ("response", "responses", "response_a", "response_b", "completion", "completions", "model_answer")
LATER_TURNS = (
    "The file has later user turns without the answers between them. The first turn is imported as the prompt; "
    "the others are kept in its metadata as later_turns."
)
WITH_RESPONSES = (
    "The file has responses beside its prompts. They are kept in the metadata of each prompt, and are not compared."
)
BESIDE_MESSAGES = (
    "Messages have keys beside what is said, such as reasoning. They are kept in the metadata of each prompt as messages; "
    "no model sees them."
)
OTHER_INSTANCES = (
    "The instruction comes with several inputs. The first is imported; the others are kept in metadata as instances."
)


@dataclass(frozen=True)
class ParsedPrompt:
    """One valid prompt. ``line`` counts as the file's format does: lines, items or rows, from 1."""

    line: int
    external_id: str
    messages: list[Message]
    content_hash: bytes
    tools: list[Any] | None = None
    capability: str | None = None
    reference: str | None = None
    tests: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    note: str | None = None


@dataclass
class _Record:
    """A record while it is read: keys are taken out as they are understood, and what is left is metadata."""

    rest: dict[str, Any]
    note: str | None = None
    reference: str | None = None

    def take(self, key: str) -> Any:
        """The value of ``key``, taken out; an empty cell is the same as no cell."""
        value = self.rest.pop(key, None)
        return None if value == "" else value

    def has(self, key: str) -> bool:
        """Whether ``key`` holds something."""
        return self.rest.get(key) not in (None, "")

    def keep(self, key: str, value: Any) -> None:
        """Keep ``value`` as metadata under ``key``, or where that is taken under ``key_2`` and so on."""
        keep(self.rest, key, value)


def keep(kept: dict[str, Any], key: str, value: Any) -> None:
    """Put ``value`` into ``kept`` without replacing another: under ``key``, or ``key_2`` and so on."""
    name, number = key, 1
    while name in kept and kept[name] != value:
        number += 1
        name = f"{key}_{number}"
    kept[name] = value


def to_prompt(value: Any, line: int, unit: str, limit_chars: int, *, cells: bool = False) -> ParsedPrompt:
    """Read one record; :class:`Refused` gives the reason why it cannot be a prompt.

    In ``cells`` of a table a list can only stand as text, so text that is a JSON list of messages is read as one.
    """
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise Refused(f'is {kind_of(value)}, not an object: write {{"prompt": "…"}}')
    record = _Record(from_viewer(value))
    check_shape(record.rest)
    if cells and record.has("prompt"):
        record.rest["prompt"] = _listed_in_cell(record.rest["prompt"])
    identifier = _identifier(record, f"{unit}-{line}")
    tools = _tools(record)
    messages = _with_system(_conversation(record), record)
    _check_conversation(messages, limit_chars)
    if record.note in (None, BESIDE_MESSAGES) and any(record.has(key) for key in RESPONSE_KEYS):
        record.note = WITH_RESPONSES
    return ParsedPrompt(
        line=line,
        external_id=identifier,
        messages=messages,
        content_hash=content_hash(messages, tools),
        tools=tools,
        capability=_capability(record),
        reference=_reference(record),
        tests=record.take("tests"),
        metadata=_metadata(record),
        note=record.note,
    )


def _identifier(record: _Record, otherwise: str) -> str:
    key = next((key for key in ID_KEYS if record.has(key)), None)
    if key is None:
        return otherwise
    value = record.take(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(f"has an id that is {kind_of(value)}: use text or a whole number")
    name = str(value)
    if shows_nothing(name):
        raise Refused("has an id of nothing but spaces: give it a name or leave the id out")
    if len(name) > 200:
        raise Refused(f"has an id of {len(name):,} characters: 200 is the most")
    return name


def _conversation(record: _Record) -> list[Message]:
    keys = [key for key in CONVERSATION_KEYS if record.has(key)]
    if len(keys) > 1:
        raise Refused(f'has both "{keys[0]}" and "{keys[1]}": keep the one that holds the conversation')
    if keys:
        return _from_conversation(record, keys[0])
    if record.has("instruction"):
        return _from_instruction(record)
    if record.has("question"):
        record.reference = _text_or_number(record.take("answer"), "answer")
        return [_user(_text(record.take("question"), "question"))]
    known = [key for key in (*CONVERSATION_KEYS, *TASK_KEYS) if key in record.rest]
    if known:
        raise Refused(f'has a blank "{known[0]}": write the prompt or remove it')
    keys = [f'"{key[:40]}"' for key in list(record.rest)[:6]]
    raise Refused(f'has no "prompt" or "messages"; its keys are {", ".join(keys) or "none"}: rename the right one')


def _from_conversation(record: _Record, key: str) -> list[Message]:
    value = record.take(key)
    if key == "prompt" and isinstance(value, str):
        return [_user(_text(value, key))]
    if key != "prompt":
        value = _json_cell(value, key)
    if not isinstance(value, list):
        wanted = "text or a list of messages" if key == "prompt" else "a list of messages"
        raise Refused(f'has a "{key}" that is {kind_of(value)}: make it {wanted}')
    if key in ("prompt", "turns") and value and isinstance(value[0], str):
        return _from_user_turns(record, value, key)
    messages, beside = read(value)
    if beside:
        record.keep("messages", beside)
        record.note = BESIDE_MESSAGES
    return messages


def _listed_in_cell(value: Any) -> Any:
    """A cell's text as the list of messages, or of the user's texts, that it is JSON of; anything else as it stands."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        found = loads(value.encode("utf-8", "surrogatepass"))
    except Refused:
        if looks_printed(value):
            raise printed("prompt") from None
        return value
    turns = (
        isinstance(found, list)
        and found
        and (
            all(isinstance(each, str) for each in found)
            or all(isinstance(each, dict) and ("role" in each or "from" in each) for each in found)
        )
    )
    return found if turns else value


def _from_user_turns(record: _Record, turns: list[Any], key: str) -> list[Message]:
    later = [_text(turn, key) for turn in turns[1:]]
    if later:
        record.keep("later_turns", later)
        record.note = LATER_TURNS
    return [_user(_text(turns[0], key))]


def _from_instruction(record: _Record) -> list[Message]:
    instruction = _text(record.take("instruction"), "instruction")
    source = record
    instances = record.take("instances")
    if instances is not None:
        if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
            raise Refused('has "instances" that are not a list of {"input", "output"} objects: correct or remove them')
        source = _Record(dict(instances[0]))
        if instances[1:]:
            record.rest["instances"] = instances[1:]
            record.note = OTHER_INSTANCES
    given = source.take("input")
    record.reference = _text_or_number(source.take("output"), "output")
    if source is not record:
        for key, value in source.rest.items():
            record.keep(key, value)
    return [_user(instruction if given is None else f"{instruction}\n\n{_text(given, 'input')}")]


def _with_system(messages: list[Message], record: _Record) -> list[Message]:
    system = record.take("system")
    if system is None:
        return messages
    if messages and messages[0]["role"] == "system":
        raise Refused('has a "system" and a system message: keep one')
    text = _text(system, "system")
    return [{"role": "system", "content": text}, *messages]


def _check_conversation(messages: list[Message], limit_chars: int) -> None:
    if not messages:
        raise Refused("has no messages: write at least one user message")
    for number, message in enumerate(messages[1:], 2):
        if message["role"] == "system":
            raise Refused(f"has a system message as message {number}: only the first may be one")
    last = messages[-1]["role"]
    if last == "assistant":
        raise Refused("ends with the assistant, so there is nothing to answer: remove the last answer")
    if last != "user":
        raise Refused(f"ends with a {last} message: it must end with the user")
    size = sum(len(message["content"]) for message in messages)
    size += sum(len(call["function"]["arguments"]) for each in messages for call in each.get("tool_calls", ()))
    if size > limit_chars:
        raise Refused(
            f"has {size:,} characters, {limit_chars:,} is the most: shorten it, or raise CORRAL_PROMPT_LIMIT_CHARS"
        )


def _tools(record: _Record) -> list[Any] | None:
    tools = _json_cell(record.take("tools"), "tools")
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refused('has "tools" that are not a list of objects: use the form of OpenAI\'s function calling')
    return tools


def _capability(record: _Record) -> str | None:
    value = record.take("capability" if record.has("capability") else "category")
    if value is None:
        return None
    name = _text(value, "capability").strip()
    if len(name) > 60:
        raise Refused(f"has a capability of {len(name):,} characters: 60 is the most")
    return name


def _reference(record: _Record) -> str | None:
    given = record.take("reference")
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        if given[1:]:
            record.keep("later_references", given[1:])
        given = given[0] if given else None
    reference = _text_or_number(given, "reference")
    if reference is not None and record.reference is not None:
        record.keep("answer", record.reference)
    return record.reference if reference is None else reference


def _metadata(record: _Record) -> dict[str, Any]:
    given = _json_cell(record.take("metadata"), "metadata")
    if given is not None and not isinstance(given, dict):
        raise Refused(f'has "metadata" that is {kind_of(given)}: make it an object')
    media = next((key for key in MEDIA if not empty(record.rest.get(key))), None)
    if media is not None:
        raise Refused(f'has "{media[:40]}": only text can be imported, pictures and sound are not shown yet')
    kept = dict(given or {})
    for key, value in record.rest.items():
        if value not in (None, ""):
            keep(kept, key, value)
    return kept


def _json_cell(value: Any, key: str) -> Any:
    """``value``, or what it says where it is JSON in a text cell, as CSV and Parquet carry it."""
    if not isinstance(value, str):
        return value
    try:
        return loads(value.encode("utf-8", "surrogatepass"))
    except Refused as error:
        raise (printed(key) if looks_printed(value) else Refused(f'has a "{key}" that {error}')) from None


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise Refused(f'has a "{key}" that is {kind_of(value)}: put it in quotes if it is meant as text')
    if shows_nothing(value):
        raise Refused(f'has a blank "{key}": write it or remove it')
    return value


def _text_or_number(value: Any, key: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f'has a "{key}" that is {kind_of(value)}: make it text')
    return json.dumps(value)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
