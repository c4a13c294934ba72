"""From a record of any known shape to one prompt: messages that end at a user turn, with what belongs to them.

Known shapes, by the key that holds the conversation:

===============================  ====================================================================================
``prompt``                       text, or a list of messages (TRL's prompt-only form)
``messages``, ``conversations``  ``{role, content}`` (OpenAI) or ``{from, value}`` (ShareGPT)
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
from training.formats.prompts import content_hash

CONVERSATION_KEYS = ("prompt", "messages", "conversations", "turns")
TASK_KEYS = ("instruction", "question")
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "observation": "tool",
}
MESSAGE_EXTRAS = ("name", "tool_calls", "tool_call_id")
LATER_TURNS = (
    "The file has later user turns without the answers between them. The first turn is imported as the prompt; "
    "the others are kept in its metadata as later_turns."
)
OTHER_INSTANCES = (
    "The instruction comes with several inputs. The first is imported; the others are kept in metadata as instances."
)


@dataclass(frozen=True)
class ParsedPrompt:
    """One valid prompt. ``line`` counts as the file's format does: lines, items or rows, from 1."""

    line: int
    external_id: str
    messages: list[dict[str, Any]]
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


def to_prompt(value: Any, line: int, unit: str, limit_chars: int) -> ParsedPrompt:
    """Read one record; :class:`Refused` gives the reason why it cannot be a prompt."""
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise Refused(f'is {kind_of(value)}, not an object: write {{"prompt": "…"}}')
    record = _Record(dict(value))
    identifier = _identifier(record, f"{unit}-{line}")
    tools = _tools(record)
    messages = _with_system(_conversation(record), record)
    _check_conversation(messages, limit_chars)
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
    value = record.take("id" if record.has("id") else "question_id")
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(f"has an id that is {kind_of(value)}: use text or a whole number")
    name = str(value)
    if not name.strip():
        raise Refused("has an id of nothing but spaces: give it a name or leave the id out")
    if len(name) > 200:
        raise Refused(f"has an id of {len(name):,} characters: 200 is the most")
    return name


def _conversation(record: _Record) -> list[dict[str, Any]]:
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


def _from_conversation(record: _Record, key: str) -> list[dict[str, Any]]:
    value = record.take(key)
    if key == "prompt" and isinstance(value, str):
        return [_user(_text(value, key))]
    if key != "prompt":
        value = _json_cell(value, key)
    if not isinstance(value, list):
        wanted = "text or a list of messages" if key == "prompt" else "a list of messages"
        raise Refused(f'has a "{key}" that is {kind_of(value)}: make it {wanted}')
    if key == "turns" and value and isinstance(value[0], str):
        return _from_user_turns(record, value)
    return [_message(item, number) for number, item in enumerate(value, 1)]


def _from_user_turns(record: _Record, turns: list[Any]) -> list[dict[str, Any]]:
    later = [_text(turn, "turns") for turn in turns[1:]]
    if later:
        record.rest["later_turns"] = later
        record.note = LATER_TURNS
    references = record.rest.get("reference")
    if isinstance(references, list) and references and all(isinstance(one, str) for one in references):
        record.rest["reference"] = references[0]
        if references[1:]:
            record.rest["later_references"] = references[1:]
    return [_user(_text(turns[0], "turns"))]


def _from_instruction(record: _Record) -> list[dict[str, Any]]:
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
        record.rest |= {key: value for key, value in source.rest.items() if key not in record.rest}
    return [_user(instruction if given is None else f"{instruction}\n\n{_text(given, 'input')}")]


def _message(item: Any, number: int) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Refused(f'has a message {number} that is {kind_of(item)}: write {{"role": …, "content": …}}')
    given = {key: value for key, value in item.items() if value is not None}
    if ("role" in given or "content" in given) and ("from" in given or "value" in given):
        raise Refused(f"has a message {number} that mixes role/content with from/value: use one of the two")
    role = given.pop("from", None) if "from" in given else given.pop("role", None)
    if not isinstance(role, str) or role not in ROLES:
        said = f'the role "{role[:40]}"' if isinstance(role, str) else "no role"
        raise Refused(f"has a message {number} with {said}: use system, user, assistant or tool")
    content = given.pop("value", None) if "value" in given else given.pop("content", None)
    message = {"role": ROLES[role], "content": _content(content, number, calls="tool_calls" in given)}
    message |= {key: given.pop(key) for key in MESSAGE_EXTRAS if key in given}
    if given:
        raise Refused(
            f'has a message {number} with the key "{next(iter(given))[:40]}", which has no meaning: remove it'
        )
    return message


def _content(content: Any, number: int, *, calls: bool) -> str:
    if content is None and calls:
        return ""
    if isinstance(content, list) and content and all(_is_text_part(part) for part in content):
        return "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Refused(f"has a message {number} whose content is {kind_of(content)}: only text can be imported")
    if not content.strip() and not calls:
        raise Refused(f"has a message {number} that is blank: write it or remove it")
    return content


def _is_text_part(part: Any) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )


def _with_system(messages: list[dict[str, Any]], record: _Record) -> list[dict[str, Any]]:
    system = record.take("system")
    if system is None:
        return messages
    if messages and messages[0]["role"] == "system":
        raise Refused('has a "system" and a system message: keep one')
    text = _text(system, "system")
    return [{"role": "system", "content": text}, *messages]


def _check_conversation(messages: list[dict[str, Any]], limit_chars: int) -> None:
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
    given = _text_or_number(record.take("reference"), "reference")
    return record.reference if given is None else given


def _metadata(record: _Record) -> dict[str, Any]:
    given = _json_cell(record.take("metadata"), "metadata")
    if given is not None and not isinstance(given, dict):
        raise Refused(f'has "metadata" that is {kind_of(given)}: make it an object')
    return {key: value for key, value in record.rest.items() if value not in (None, "")} | (given or {})


def _json_cell(value: Any, key: str) -> Any:
    """``value``, or what it says where it is JSON in a text cell, as CSV and Parquet carry it."""
    if not isinstance(value, str):
        return value
    try:
        return loads(value.encode("utf-8", "surrogatepass"))
    except Refused as error:
        raise Refused(f'has a "{key}" that {error}') from None


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise Refused(f'has a "{key}" that is {kind_of(value)}: put it in quotes if it is meant as text')
    if not value.strip():
        raise Refused(f'has a blank "{key}": write it or remove it')
    return value


def _text_or_number(value: Any, key: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f'has a "{key}" that is {kind_of(value)}: make it text')
    return json.dumps(value)


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}
