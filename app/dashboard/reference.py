"""The API reference as a page: what stands in the OpenAPI document, in the order and the words that people need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
MAX_DEPTH = 6


@dataclass(frozen=True)
class Parameter:
    """One parameter of the path, the query or a header."""

    name: str
    place: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One method on one path. The examples are JSON, or None where there is no such body."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    access: str
    parameters: list[Parameter]
    request: str | None
    status: str
    response: str | None


def operations(document: Json) -> dict[str, list[Operation]]:
    """The operations of an OpenAPI document by tag."""
    by_tag: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(document, path, method, operation))
    return by_tag


def _operation(document: Json, path: str, method: str, operation: Json) -> Operation:
    status = next((each for each in sorted(operation["responses"]) if each.startswith("2")), "200")
    answer = operation["responses"].get(status, {})
    return Operation(
        anchor=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        description=operation["description"],
        access=operation["x-access"],
        parameters=[_parameter(document, each) for each in operation.get("parameters", [])],
        request=_body(document, operation.get("requestBody", {})),
        status=status,
        response=_body(document, answer),
    )


def _parameter(document: Json, raw: Json) -> Parameter:
    schema = _resolve(document, raw.get("schema", {}))
    variants = [_resolve(document, each) for each in schema.get("anyOf", [schema])]
    kind = " or ".join(each["type"] for each in variants if each.get("type", "null") != "null")
    if "enum" in schema:
        kind = " | ".join(map(str, schema["enum"]))
    return Parameter(raw["name"], raw["in"], kind, raw.get("required", False), raw.get("description", ""))


def _body(document: Json, holder: Json) -> str | None:
    for kind, content in holder.get("content", {}).items():
        schema = content.get("schema", {})
        if kind == "multipart/form-data":
            fields = _resolve(document, schema).get("properties", {})
            # a file says so with a keyword of its own, at a depth that depends on whether there may be several
            return "\n".join(
                f"{name}={'@file' if 'contentMediaType' in str(each) else '…'}" for name, each in fields.items()
            )
        if kind.endswith("json") and schema:  # not JSON Lines: a file is no example
            named: list[Json] = list(content.get("examples", {}).values())
            given = content.get("example", named[0].get("value") if named else None)
            return json.dumps(given or _example(document, schema), indent=2, ensure_ascii=False)
    return None


def _resolve(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


FORMATS = {"date-time": "2026-01-31T09:30:00Z", "date": "2026-01-31", "uuid": "0b9f0f0e-5d3b-4a55-9f53-1d7a3c1e2f4b"}


def _example(document: Json, schema: Json, depth: int = 0) -> Any:
    """An example of ``schema``: its own, or one put together from its parts."""
    schema = _resolve(document, schema)
    for keyword in ("examples", "enum", "anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            first = schema[keyword][0]
            return first if keyword in {"examples", "enum"} else _example(document, first, depth)
    for keyword in ("const", "default", "example"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    return _composed(document, schema, depth) if depth <= MAX_DEPTH else None


def _composed(document: Json, schema: Json, depth: int) -> Any:
    if schema.get("type") == "object":
        return {name: _example(document, each, depth + 1) for name, each in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(document, schema.get("items", {}), depth + 1)]
    plain = {"integer": 1, "number": 0.5, "boolean": True, "string": FORMATS.get(schema.get("format", ""), "…")}
    return plain.get(schema.get("type", ""))
