"""From a record of any known shape to one prompt: messages that end at a user turn, with what belongs to them.

Nothing is trimmed or repaired: a record is imported as it is, or refused with a reason. Keys that mean nothing here are
kept under ``metadata``. The shapes are in :mod:`app.prompts.shapes`, the public
benchmarks that bring tests in :mod:`app.prompts.benchmarks`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import cell, translated
from app.prompts.bounded_json import Refused, kind_of
from app.prompts.fields import BESIDE_MESSAGES, Record, json_cell, keep, text, text_or_number
from app.prompts.messages import MEDIA, Message, empty
from app.prompts.origins import Origin
from app.prompts.responses import Response, responses_of
from app.prompts.shapes import conversation, read_cells, restated, unwrapped
from training.formats.languages import code_of
from training.formats.prompts import content_hash
from training.formats.texts import shows_nothing

OPENED = frozenset(
    {
        *(
            "chosen",
            "rejected",
            "context",
            "completions",
            "fields",
            "data",
            "annotations",
            "predictions",
            "suggestions",
        ),
        *("conversation_a", "conversation_b", "response_a", "response_b"),
    }
)
"""Cells of a table in which shapes with responses hold lists and objects, as JSON."""
ID_KEYS = ("id", "key", "task_id", "prompt_id", "question_id")
"""Where a source names its prompts. The first is the prompt's id; the others stay in its metadata."""
RESPONSE_KEYS = ("response", "response_a", "response_b", "completion", "completions", "model_answer")
WITH_RESPONSES = N_(
    "The file also has responses. They are kept in the metadata of each prompt and are not compared: nothing says which "
    "model wrote them."
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
    language: str | None = None
    reference: str | None = None
    tests: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    origin: Origin = Origin.IMPORTED
    note: str | None = None
    responses: tuple[Response, ...] = ()
    named: bool = False
    """Whether its source gives ``external_id``; otherwise it is made of the line."""


def to_prompts(
    value: Any, line: int, unit: str, limit_chars: int, *, cells: bool = False
) -> list[ParsedPrompt | Refused]:
    """What one record gives: most one prompt, a tree of messages one for each turn that was answered in several ways.

    :class:`Refused` where the record as a whole cannot be read.
    """
    if not isinstance(value, dict):
        return [to_prompt(value, line, unit, limit_chars, cells=cells)]
    given = restated(unwrapped(_opened(value) if cells else value))
    if len(given.records) == 1:
        made = to_prompt(given.records[0], line, unit, limit_chars, cells=cells)
        return [replace(made, note=given.note or made.note)]
    found: list[ParsedPrompt | Refused] = []
    for record in given.records:
        try:
            found.append(replace(to_prompt(record, line, unit, limit_chars, cells=cells), note=given.note))
        except Refused as refusal:
            found.append(refusal)
    return found


def _opened(row: dict[str, Any]) -> dict[str, Any]:
    """The row of a table, with what shapes with responses hold as JSON in their cells."""
    return {key: cell(value) if key in OPENED else value for key, value in row.items()}


def to_prompt(value: Any, line: int, unit: str, limit_chars: int, *, cells: bool = False) -> ParsedPrompt:
    """Read one record; :class:`Refused` gives the reason why it cannot be a prompt.

    In ``cells`` of a table a list can only stand as text, so text that is a JSON list of messages is read as one.
    """
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict):
        raise Refused(N_('is {kind}, not an object: write {{"prompt": "…"}}'), kind=kind_of(value))
    record = Record(translated(value))
    if cells:
        read_cells(record)
    named = any(record.has(key) for key in ID_KEYS)
    identifier = _identifier(record, f"{unit}-{line}")
    tools = _tools(record)
    responses = responses_of(record, limit_chars)
    messages = _with_system(conversation(record), record)
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
        language=_language(record),
        reference=_reference(record),
        tests=record.take("tests"),
        origin=_origin(record),
        metadata=_metadata(record),
        note=record.note,
        responses=responses,
        named=named,
    )


def _identifier(record: Record, otherwise: str) -> str:
    key = next((key for key in ID_KEYS if record.has(key)), None)
    if key is None:
        return otherwise
    value = record.take(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refused(N_("has an id that is {kind}: use text or a whole number"), kind=kind_of(value))
    name = str(value)
    if shows_nothing(name):
        raise Refused(N_("has a blank id: give it a name or leave the id out"))
    if len(name) > 200:
        raise Refused(N_("has an id of {n} characters: 200 is the most"), n=f"{len(name):,}")
    return name


def _with_system(messages: list[Message], record: Record) -> list[Message]:
    system = record.take("system")
    if system is None:
        return messages
    if messages and messages[0]["role"] == "system":
        raise Refused(N_('has a "system" and a system message: keep one'))
    return [{"role": "system", "content": text(system, "system")}, *messages]


def _check_conversation(messages: list[Message], limit_chars: int) -> None:
    if not messages:
        raise Refused(N_("has no messages: write at least one user message"))
    for number, message in enumerate(messages[1:], 2):
        if message["role"] == "system":
            raise Refused(N_("has a system message as message {number}: only the first may be one"), number=number)
    last = messages[-1]["role"]
    if last == "assistant":
        raise Refused(N_("ends with the assistant, so there is nothing to answer: remove the last answer"))
    if last != "user":
        raise Refused(N_("ends with a {last} message: it must end with the user"), last=last)
    size = sum(len(message["content"]) for message in messages)
    size += sum(len(call["function"]["arguments"]) for each in messages for call in each.get("tool_calls", ()))
    if size > limit_chars:
        raise Refused(
            N_("has {size} characters, {limit_chars} is the most: shorten it, or raise CORRAL_PROMPT_LIMIT_CHARS"),
            size=f"{size:,}",
            limit_chars=f"{limit_chars:,}",
        )


def _tools(record: Record) -> list[Any] | None:
    tools = json_cell(record.take("tools"), "tools")
    if tools is None or tools == []:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refused(N_('has "tools" that are not a list of objects: use the form of OpenAI\'s function calling'))
    return tools


def _capability(record: Record) -> str | None:
    value = record.take("capability" if record.has("capability") else "category")
    if value is None:
        return None
    name = text(value, "capability").strip()
    if len(name) > 60:
        raise Refused(N_("has a capability of {n} characters: 60 is the most"), n=f"{len(name):,}")
    return name


def _language(record: Record) -> str | None:
    """The language that the record says; a word that names none (a programming language) stays metadata."""
    key = next((key for key in ("language", "lang") if isinstance(record.rest.get(key), str)), None)
    code = None if key is None else code_of(record.rest[key])
    if key is not None and code is not None:
        record.take(key)
    return code


def _origin(record: Record) -> Origin:
    """The origin that the record says; a word that is none stays metadata."""
    said = record.rest.get("origin")
    if not isinstance(said, str) or said not in set(Origin):
        return Origin.IMPORTED
    return Origin(record.take("origin"))


def _reference(record: Record) -> str | None:
    given = record.take("reference")
    if isinstance(given, list) and all(isinstance(one, str) for one in given):
        if given[1:]:
            record.keep("later_references", given[1:])
        given = given[0] if given else None
    reference = text_or_number(given, "reference")
    if reference is not None and record.reference is not None:
        record.keep("answer", record.reference)
    return record.reference if reference is None else reference


def _metadata(record: Record) -> dict[str, Any]:
    given = json_cell(record.take("metadata"), "metadata")
    if given is not None and not isinstance(given, dict):
        raise Refused(N_('has "metadata" that is {kind}: make it an object'), kind=kind_of(given))
    media = next((key for key in MEDIA if not empty(record.rest.get(key))), None)
    if media is not None:
        raise Refused(
            N_('has "{media}": only text can be imported, pictures and sound are not shown yet'), media=media[:40]
        )
    kept = dict(given or {})
    for key, value in record.rest.items():
        if value not in (None, ""):
            keep(kept, key, value)
    return kept
