"""BFCL: functions that may be called, and the calls that are accepted.

BFCL keeps its answers in a file of their own; a question and its ``ground_truth`` in one record have tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.kernel.locales import N_
from app.prompts.benchmarks import Benchmark, cell, without
from app.prompts.bounded_json import Refused

ANSWERS = ("ground_truth", "possible_answer")
TYPES = {"dict": "object", "float": "number", "tuple": "array"}
"""Python's names of types, which BFCL uses, by those of JSON schema, which models and engines know."""
_ASKED = ("question", "function")


def _read(record: Mapping[str, Any]) -> dict[str, Any] | None:
    answers = next((key for key in ANSWERS if record.get(key) not in (None, "")), None)
    if answers is not None and record.keys() <= {"id", *ANSWERS}:
        raise Refused(
            N_('holds an answer of BFCL alone: put its "{answers}" into the question with the same "id"'),
            answers=answers,
        )
    functions, question = (cell(record.get(key)) for key in ("function", "question"))
    functions = [functions] if isinstance(functions, Mapping) else functions
    if not isinstance(functions, list) or not functions or not question or not all(map(_is_function, functions)):
        return None
    first, *later = question if isinstance(question, list) and isinstance(question[0], list) else [question]
    if not first:
        return None
    read = without(record, *_ASKED, *ANSWERS)
    read |= {"prompt" if isinstance(first, str) else "messages": first}
    read |= {"tools": [{"type": "function", "function": _tool(function)} for function in functions]}
    read |= {"later_turns": later} if later else {}
    return read | (_tests(cell(record[answers]), answers) if answers is not None else {})


def _tests(answers: Any, key: str) -> dict[str, Any]:
    calls = [answers] if isinstance(answers, Mapping) else answers
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise Refused(
            N_('has a "{key}" that is not a list of calls: write [{{"name": {{"argument": [values]}}}}]'), key=key
        )
    named = [{"name": name, "arguments": arguments} for call in calls for name, arguments in call.items()]
    return {"tests": [{"kind": "tool_calls", "calls": named}]}


def _is_function(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("parameters"), Mapping)
    )


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**function, "parameters": _schema(function["parameters"])}


def _schema(schema: Any) -> Any:
    """A schema with JSON schema's names of types; of "any" none is said."""
    if not isinstance(schema, Mapping):
        return schema
    made = {key: value for key, value in schema.items() if not (key == "type" and value == "any")}
    if isinstance(made.get("type"), str):
        made["type"] = TYPES.get(made["type"], made["type"])
    if isinstance(made.get("properties"), Mapping):
        made["properties"] = {name: _schema(each) for name, each in made["properties"].items()}
    return made | {key: _schema(made[key]) for key in ("items", "additionalProperties") if key in made}


BENCHMARK = Benchmark(name="BFCL", capability="tool-use", read=_read)
