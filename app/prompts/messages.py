"""The one form of a message that is stored, and the forms that people have it in.

A stored message has ``role`` (system, user, assistant or tool) and ``content``, both text, and where tools are used
``name``, ``tool_call_id`` (text) and ``tool_calls``: ``{"id", "type": "function", "function": {"name", "arguments"}}``,
where the arguments are an object as JSON text. Only so can every row be written into columns, and only so does a row
never lend its arguments' names to its neighbours.

:func:`read` brings what comes in into this form or refuses it; :func:`strict` does the same for rows that were stored
before there was one, and never fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from app.kernel.locales import N_
from app.prompts.bounded_json import Refused, kind_of, loads
from training.formats.texts import shows_nothing

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
CALLING_ROLES = ("function_call", "tool_call")
"""Their text is not said but is the call itself, as JSON."""
MEDIA = ("image", "images", "image_url", "audio", "input_audio", "video", "videos", "file")
TEXT_PARTS = ("text", "input_text", "output_text")
ARGUMENTS = ("arguments", "parameters", "args", "input")
CALL_KEYS = frozenset({"id", "type", "function", "name", "index", *ARGUMENTS})


def empty(value: Any) -> bool:
    """Whether ``value`` says nothing: null, ``""``, and lists and objects of nothing else, as tables fill them in."""
    if isinstance(value, dict):
        return all(empty(inner) for inner in value.values())
    if isinstance(value, list):
        return all(empty(inner) for inner in value)
    return value is None or value == ""


def read(items: Sequence[Any]) -> tuple[list[Message], dict[str, Any]]:
    """The messages of ``items``, and by message number (from 1) what else they held; :class:`Refused` says why not."""
    messages: list[Message] = []
    beside: dict[str, Any] = {}
    for number, item in enumerate(items, 1):
        message, more = _message(item, number)
        messages.append(message)
        if more:
            beside[str(number)] = more
    _join_calls(messages)
    return messages, beside


def strict(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Stored ``messages`` in the strict form. What cannot be brought into it stays as JSON text, or is left out."""
    made: list[Message] = []
    for number, message in enumerate(messages, 1):
        content = message.get("content")
        kept: Message = {
            "role": str(message.get("role")),
            "content": content if isinstance(content, str) else "" if content is None else _json_text(content),
        }
        for key in ("name", "tool_call_id"):
            if not empty(message.get(key)):
                kept[key] = message[key] if isinstance(message[key], str) else _json_text(message[key])
        try:
            calls = _calls(message.get("tool_calls"), number)
        except Refused:
            calls = []
        made.append(kept | ({"tool_calls": calls} if calls else {}))
    _join_calls(made)
    return made


def _message(item: Any, number: int) -> tuple[Message, dict[str, Any]]:
    if not isinstance(item, dict):
        raise Refused(
            N_('has a message {number} that is {kind}: write {{"role": …, "content": …}}'),
            number=number,
            kind=kind_of(item),
        )
    given = {key: value for key, value in item.items() if value is not None}
    if ("role" in given or "content" in given) and ("from" in given or "value" in given):
        raise Refused(
            N_("has a message {number} that mixes role/content with from/value: use one of the two"), number=number
        )
    said = given.pop("from", None) if "from" in given else given.pop("role", None)
    content = given.pop("value", None) if "value" in given else given.pop("content", None)
    role = _role(said, number)
    given = {key: value for key, value in given.items() if not empty(value)}
    _check_media(given, number)
    if str(said).lower() in CALLING_ROLES:
        given["function_call"], content = content, None
    calls = _calls_of(given, role, number)
    if content is None and role == "assistant" and isinstance(given.get("refusal"), str):
        content = given.pop("refusal")
    message: Message = {"role": role, "content": _content(content, number, calls=bool(calls))}
    if "name" in given:
        message["name"] = _label(given.pop("name"), "name", number)
    if calls:
        message["tool_calls"] = calls
    if role == "tool" and "tool_call_id" in given:
        message["tool_call_id"] = _label(given.pop("tool_call_id"), "tool_call_id", number)
    return message, given


def _role(said: Any, number: int) -> str:
    role = ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None and isinstance(said, str):
        raise Refused(
            N_('has a message {number} with the role "{role}": use system, user, assistant or tool'),
            number=number,
            role=said[:40],
        )
    if role is None:
        raise Refused(N_("has a message {number} with no role: use system, user, assistant or tool"), number=number)
    return role


def _check_media(given: Mapping[str, Any], number: int) -> None:
    media = next((key for key in MEDIA if key in given), None)
    if media is not None:
        raise Refused(
            N_('has a message {number} with "{media}": only text can be imported, pictures and sound not yet'),
            number=number,
            media=media,
        )


def _content(content: Any, number: int, *, calls: bool) -> str:
    if content is None and calls:
        return ""
    if isinstance(content, list) and content:
        content = "".join(_part(part, number) for part in content)
    if not isinstance(content, str):
        raise Refused(
            N_("has a message {number} whose content is {kind}: only text can be imported"),
            number=number,
            kind=kind_of(content),
        )
    if shows_nothing(content) and not calls:
        raise Refused(N_("has a message {number} that is blank: write it or remove it"), number=number)
    return content


def _part(part: Any, number: int) -> str:
    """The text of one part of a content; keys that other parts need may stand beside it, empty."""
    if isinstance(part, dict):
        given = {key: value for key, value in part.items() if key in ("type", "text") or not empty(value)}
        kind, text = given.pop("type", "text"), given.pop("text", None)
        if kind in TEXT_PARTS and isinstance(text, str) and not given:
            return text
        if kind in TEXT_PARTS and isinstance(text, str) and not any(key in MEDIA for key in given):
            raise Refused(
                N_('has a message {number} with a text that has the key "{key}": remove it'),
                number=number,
                key=next(iter(given))[:40],
            )
    raise Refused(
        N_("has a message {number} whose content is not only text: pictures and sound cannot be imported yet"),
        number=number,
    )


# ── Calls of tools ───────────────────────────────────────────────────────────────────────────────────────────────────
def _calls_of(given: dict[str, Any], role: str, number: int) -> list[Message]:
    keys = [key for key in ("tool_calls", "function_call") if key in given]
    if not keys:
        return []
    if len(keys) > 1:
        raise Refused(N_('has a message {number} with both "tool_calls" and "function_call": keep one'), number=number)
    if role != "assistant":
        raise Refused(
            N_('has a message {number} of the {role} with "{key}": only the assistant calls tools'),
            number=number,
            role=role,
            key=keys[0],
        )
    calls = _calls(given.pop(keys[0]), number)
    if not calls and keys[0] == "function_call":
        raise Refused(N_("has a message {number} that calls no function: write the call or remove it"), number=number)
    return calls


def _calls(value: Any, number: int) -> list[Message]:
    """Each call with its keys in the strict form; ``id`` is None where the file gives none."""
    if isinstance(value, str) and value:
        try:
            value = loads(value.encode("utf-8", "surrogatepass"))
        except Refused:
            raise Refused(
                N_(
                    "has a message {number} whose tool calls are text that is not JSON: write a list of calls, "
                    "or leave them out"
                ),
                number=number,
            ) from None
    if empty(value):
        return []
    found = [value] if isinstance(value, dict) else value
    if not isinstance(found, list):
        raise Refused(
            N_("has a message {number} whose tool calls are {kind}: write a list of calls"),
            number=number,
            kind=kind_of(value),
        )
    return [_call(each, number) for each in found]


def _call(value: Any, number: int) -> Message:
    if not isinstance(value, dict):
        raise Refused(
            N_("has a message {number} with a tool call that is {kind}: write it as an object"),
            number=number,
            kind=kind_of(value),
        )
    given = {key: each for key, each in value.items() if each is not None and (key in ARGUMENTS or not empty(each))}
    inner = given.get("function")
    keys = [*given, *(key for key in inner if not empty(inner[key]))] if isinstance(inner, dict) else [*given]
    unknown = next((key for key in keys if key not in CALL_KEYS), None)
    if unknown is not None:
        raise Refused(
            N_('has a message {number} with a tool call that has the key "{key}": remove it'),
            number=number,
            key=unknown[:40],
        )
    if given.get("type", "function") not in ("function", "tool_use"):
        raise Refused(
            N_("has a message {number} with a tool call that is not a function: only functions can be called"),
            number=number,
        )
    function = given.get("function", given)
    if isinstance(function, str):
        function = {**given, "name": function}
    if not isinstance(function, dict) or empty(function.get("name")):
        raise Refused(
            N_("has a message {number} with a tool call that names no function: give it a name"), number=number
        )
    named = next((key for key in ARGUMENTS if function.get(key) is not None), None)
    return {
        "id": _label(given["id"], "id", number, called=True) if "id" in given else None,
        "type": "function",
        "function": {
            "name": _label(function["name"], "name", number, called=True),
            "arguments": _arguments(None if named is None else function[named], number),
        },
    }


def _arguments(value: Any, number: int) -> str:
    """The arguments as JSON text; text that is JSON already stays as it was written."""
    if value is None or value == "":
        return "{}"
    text = value if isinstance(value, str) else _json_text(value)
    try:
        given = loads(text.encode("utf-8", "surrogatepass"))
    except Refused:
        given = None
    if not isinstance(given, dict):
        raise Refused(
            N_("has a message {number} with a tool call whose arguments are not a JSON object: write {{}} for none"),
            number=number,
        )
    return text


def _join_calls(messages: Sequence[Message]) -> None:
    """Give each call an id, and each result the id of its call: the one that it names, or the oldest without a result."""
    used = {call["id"] for message in messages for call in message.get("tool_calls", ())}
    used |= {message.get("tool_call_id") for message in messages}
    fresh = (name for name in (f"call_{n}" for n in count(1)) if name not in used)
    waiting: list[Message] = []
    for message in messages:
        waiting += message.get("tool_calls", ())
        if message["role"] == "tool":
            call = next((each for each in waiting if _answers(message, each)), None)
            if call is not None:
                waiting.remove(call)
                call["id"] = message["tool_call_id"] = call["id"] or message.get("tool_call_id") or next(fresh)
    for call in _all_calls(messages):
        call["id"] = call["id"] or next(fresh)


def _answers(result: Message, call: Message) -> bool:
    given = result.get("tool_call_id")
    if given is not None and call["id"] is not None:
        return bool(given == call["id"])
    return result.get("name") in (None, call["function"]["name"])


def _all_calls(messages: Sequence[Message]) -> Iterator[Message]:
    return (call for message in messages for call in message.get("tool_calls", ()))


def _label(value: Any, key: str, number: int, *, called: bool = False) -> str:
    """The text under ``key`` of a message or, where one is ``called``, of a call in it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or shows_nothing(value):
        raise Refused(
            N_("has a message {number} with a tool call whose {key} is {kind}: make it text")
            if called
            else N_("has a message {number} whose {key} is {kind}: make it text"),
            number=number,
            key=key,
            kind=N_("blank") if isinstance(value, str) else kind_of(value),
        )
    return value


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
