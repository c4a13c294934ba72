"""Whether a call keeps to the schema of its tool.

A tool may be written as OpenAI has it (``{"type": "function", "function": {…}}``), as its inner object, or as BFCL has it, with
Python's names of types. Where a schema says which arguments there are, no others are taken. A schema's references stay
inside it: nothing is ever fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from workers.tools.calls import Call

TYPES: Final = {
    "dict": "object",
    "map": "object",
    "hashmap": "object",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "tuple": "array",
    "list": "array",
    "arraylist": "array",
    "set": "array",
    "int": "integer",
    "long": "integer",
    "short": "integer",
    "str": "string",
    "char": "string",
    "bool": "boolean",
    "none": "null",
}
"""Names of types in other languages by those of JSON schema."""
_KNOWN: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_SCHEMAS: Final = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_OPEN: Final = frozenset(
    {"additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"}
)


class BadSchema(ValueError):
    """The schema of a tool is none, or cannot be used; no fault of who calls it."""


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object of a tool that has its name.

    Raises:
        BadSchema: there is none.
    """
    function = tool.get("function", tool)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadSchema("a tool has no name")
    return function


def schema_of(tool: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments, in JSON schema's names.

    Raises:
        BadSchema: it is no schema.
    """
    function = function_of(tool)
    given: Any = next((function[key] for key in ("parameters", "input_schema", "inputSchema") if function.get(key)), {})
    if not isinstance(given, Mapping):
        raise BadSchema(f"the schema of {function['name']} is no object")
    schema: dict[str, Any] = plain(given)
    return {"type": "object", **schema}


def plain(schema: Any) -> Any:
    """A schema with the names of types of JSON schema; an object with named properties takes no others.

    A list stands for the schemas of a union; anything else that is no schema stays, for the check to refuse.
    """
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type":
            kinds = _types(value)
            made |= {} if kinds is None else {"type": kinds}
        elif key in _SCHEMAS:
            made[key] = plain(value)
        elif key in _LISTS and isinstance(value, list):
            made[key] = [plain(each) for each in value]
        elif key in _MAPS and isinstance(value, Mapping):
            made[key] = {name: plain(each) for name, each in value.items()}
        elif key == "required" and isinstance(value, bool):
            continue  # of the property itself, as drafts before 4 had it
        else:
            made[key] = value
    if "properties" in made and made.get("type", "object") == "object" and not _OPEN & made.keys():
        made["additionalProperties"] = False
    return made


def fault(call: Call, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the call cannot be made with these tools; None where it can.

    Raises:
        BadSchema: the tool's schema is none, refers to itself without end, or to what is not in it.
    """
    tool = next((tool for tool in tools if function_of(tool)["name"] == call.name), None)
    if tool is None:
        return f"no tool is called {call.name}"
    return fault_of(call.arguments, schema_of(tool), call.name)


def fault_of(value: Any, schema: Mapping[str, Any], name: str) -> str | None:
    """Why a value breaks a schema; None where it keeps to it.

    Raises:
        BadSchema: as :func:`fault`.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        error = best_match(Draft202012Validator(schema, registry=Registry()).iter_errors(value))
    except SchemaError as wrong:
        raise BadSchema(f"the schema of {name} is none: {wrong.message[:200]}") from None
    except Unresolvable as wrong:
        raise BadSchema(f"the schema of {name} refers to what is not in it: {wrong}") from None
    except RecursionError:
        raise BadSchema(f"the schema of {name} refers to itself without end") from None
    if error is None:
        return None
    place = "/".join(map(str, error.path))
    return f"{name}: {place + ': ' if place else ''}{error.message[:200]}"


def _types(value: Any) -> Any:
    """The type in JSON schema's words; None where anything goes."""
    if isinstance(value, list):
        kinds = [_types(each) for each in value]
        return None if None in kinds else kinds
    if not isinstance(value, str) or value in _KNOWN:
        return value
    name = value.lower()
    return None if name == "any" else name if name in _KNOWN else TYPES.get(name, value)
