"""The calls of tools in a response, in the forms in which models write them.

Read are Hermes and Qwen (``<tool_call>{…}</tool_call>``), Llama (a JSON object with ``parameters``, ``<|python_tag|>``,
``<function=name>{…}</function>``), Mistral (``[TOOL_CALLS]``), JSON objects and lists, code blocks of them, calls in Python's
notation (``[f(a=1)]``), and OpenAI's ``tool_calls`` with arguments as JSON text. Nothing is run or repaired.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MOST_CHARACTERS: Final = 200_000
"""Of a response that is looked through for calls."""
MOST_CALLS: Final = 256

_TAGGED: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_FUNCTION: Final = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>|$)", re.DOTALL)
_MISTRAL: Final = "[TOOL_CALLS]"
_MISTRAL_NAMED: Final = re.compile(r"\s*([^\s\[\]{}]+?)(?:\[CALL_ID\][^\[]*)?\[ARGS\]\s*")
_PYTHON_TAG: Final = "<|python_tag|>"
_ENDS: Final = ("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "</s>")
_BLOCK: Final = re.compile(r"```(?:json|python|tool_code|tool_call)?\s*\n(.*?)\n?```", re.DOTALL)
_LOOKS_PYTHONIC: Final = re.compile(r"\[?\s*[A-Za-z_][\w.]*\(")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "input")


class NotACall(ValueError):
    """What stands where a call should stand is none; says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the tool's name and its arguments."""

    name: str
    arguments: dict[str, Any]


def calls_in(response: str) -> list[Call]:
    """The calls in a response, in their order; an empty list where it calls nothing.

    Raises:
        NotACall: it begins a call that cannot be read.
    """
    if len(response) > MOST_CHARACTERS:
        raise NotACall(f"the response has {len(response):,} characters, {MOST_CHARACTERS:,} is the most")
    try:
        found = _found(response)
    except RecursionError:
        raise NotACall("the call is nested too deep") from None
    if len(found) > MOST_CALLS:
        raise NotACall(f"the response has {len(found):,} calls, {MOST_CALLS} is the most")
    return found


def calls_of(message: dict[str, Any]) -> list[Call]:
    """The calls of an assistant's message: those in its field, else those in its text.

    Raises:
        NotACall: one cannot be read.
    """
    field = message.get("tool_calls")
    return _many(field, as_text=True) if field else calls_in(str(message.get("content") or ""))


def _found(response: str) -> list[Call]:
    text = response.strip()
    for end in _ENDS:
        text = text.removesuffix(end).rstrip()
    if "<tool_call>" in text:
        return [call for inner in _TAGGED.findall(text) for call in _tagged(inner)]
    if "<function=" in text:
        return [Call(name, _arguments(_json(inner), as_text=False)) for name, inner in _FUNCTION.findall(text)]
    if _MISTRAL in text:
        return [call for inner in text.split(_MISTRAL)[1:] for call in _mistral(inner)]
    marked = _PYTHON_TAG in text
    text = text.partition(_PYTHON_TAG)[2].strip() if marked else text
    block = _BLOCK.fullmatch(text)
    text = block[1].strip() if block else text
    if text.startswith(("{", "[{")) or (text.startswith("[") and text[1:].lstrip().startswith("{")):
        return _several(text, must=marked)
    if _LOOKS_PYTHONIC.match(text):
        return _pythonic(text, must=marked or bool(text.startswith("[")))
    if marked:
        raise NotACall("nothing that could be called follows <|python_tag|>")
    return []


def _tagged(inner: str) -> list[Call]:
    function = _FUNCTION.fullmatch(inner.strip())
    if function:
        return [Call(function[1], _arguments(_json(function[2]), as_text=False))]
    return _many(_json(inner))


def _mistral(inner: str) -> list[Call]:
    named = _MISTRAL_NAMED.match(inner)
    return [Call(named[1], _arguments(_json(inner[named.end() :]), as_text=False))] if named else _many(_json(inner))


def _several(text: str, *, must: bool) -> list[Call]:
    """One JSON value, or several with ; or a line break between them. JSON that names no call is an answer."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
    values: list[Any] = []
    at = 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except NotACall:
            raise
        except ValueError as error:
            if must or values or '"name"' in text or '"function"' in text:
                raise NotACall(f"the call is no JSON ({error})") from None
            return []
        values.append(value)
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n;,"))
    if not must and not all(map(_names_a_call, values)):
        return []
    return [call for value in values for call in _many(value)]


def _names_a_call(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_names_a_call, value))
    if not isinstance(value, dict):
        return False
    return any(key in value for key in ("tool_calls", "function", "function_call")) or (
        "name" in value and any(key in value for key in _ARGUMENTS)
    )


def _many(value: Any, *, as_text: bool = False) -> list[Call]:
    if isinstance(value, dict) and value.get("tool_calls"):
        return _many(value["tool_calls"], as_text=True)
    if isinstance(value, list):
        return [call for each in value for call in _many(each, as_text=as_text)]
    return [_one(value, as_text=as_text)]


def _one(value: Any, *, as_text: bool) -> Call:
    """A call from its object. Only OpenAI's form, which has a ``function``, writes the arguments as text."""
    if not isinstance(value, dict):
        raise NotACall(f"a call is a JSON {type(value).__name__}, not an object")
    inner = value.get("function", value.get("function_call"))
    if isinstance(inner, dict):
        value, as_text = inner, True
    elif isinstance(inner, str):
        value = {**value, "name": inner}
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise NotACall("a call names no tool")
    given = [key for key in _ARGUMENTS if key in value]
    if len(given) > 1:
        raise NotACall(f"the call of {name} has both {given[0]} and {given[1]}")
    return Call(name.strip(), _arguments(value[given[0]] if given else {}, as_text=as_text))


def _arguments(value: Any, *, as_text: bool) -> dict[str, Any]:
    if as_text and isinstance(value, str):
        value = _json(value) if value.strip() else {}
    if not isinstance(value, dict):
        raise NotACall(f"the arguments are a JSON {type(value).__name__}, not an object")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text.strip(), object_pairs_hook=_once, parse_constant=_no_constant)
    except NotACall:
        raise
    except ValueError as error:
        raise NotACall(f"the call is no JSON ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. One key twice leaves open which of its values is meant."""
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise NotACall(f"{twice} stands twice in one object")
    return made


def _no_constant(name: str) -> Any:
    raise NotACall(f"{name} is no number of JSON")


# ── Python's notation ────────────────────────────────────────────────────────────────────────────────────────────────
def _pythonic(text: str, *, must: bool) -> list[Call]:
    try:
        body = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError) as error:
        if must:
            raise NotACall(f"the call is neither JSON nor Python ({error})") from None
        return []
    nodes = body.elts if isinstance(body, ast.List | ast.Tuple) else [body]
    if not nodes or not all(isinstance(node, ast.Call) for node in nodes):
        return []
    return [_called(node) for node in nodes if isinstance(node, ast.Call)]


def _called(node: ast.Call) -> Call:
    name = ".".join(reversed(list(_parts(node.func))))
    if node.args or any(word.arg is None for word in node.keywords):
        raise NotACall(f"the call of {name} has arguments without a name")
    try:
        arguments = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        json.dumps(arguments, allow_nan=False)
    except (ValueError, TypeError, MemoryError):
        raise NotACall(f"the call of {name} has an argument that is no plain value") from None
    return Call(name, {key: _plain(value) for key, value in arguments.items()})


def _parts(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    if not isinstance(node, ast.Name):
        raise NotACall("what is called has no plain name")
    yield node.id


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return {str(key): _plain(each) for key, each in value.items()} if isinstance(value, dict) else value
