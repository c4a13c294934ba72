"""The client says what the server says: its answers field by field, its addresses one by one. And it needs little to say it."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from app.client import client, models, outcomes

ANSWERS = [
    each
    for home in (models, outcomes)
    for _, each in inspect.getmembers(home, inspect.isclass)
    if each.__module__ == home.__name__ and each is not models.Answer
]
FOREIGN = ("sqlalchemy", "fastapi", "starlette", "app.kernel", "app.accounts", "numpy", "celery")


def kinds(schema: dict[str, Any], known: dict[str, Any]) -> set[str]:
    """What a value may be: JSON's types, an enumeration as its values' type, a list with what is in it, a model by its name."""
    if "anyOf" in schema:
        return set().union(*(kinds(each, known) for each in schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        of = known[name]
        return kinds(of, known) if "enum" in of else {plain(name)}
    if schema.get("type") == "array":
        return {f"list of {each}" for each in kinds(schema.get("items", {}), known)}
    return {schema.get("type", "anything")}


def plain(name: str) -> str:
    """The name of a model without the room that tells two of them apart."""
    return name.rpartition("__")[2].removesuffix("-Output")


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_an_answer_has_the_fields_that_the_server_describes(web: FastAPI, answer: type[BaseModel]) -> None:
    served = web.openapi()["components"]["schemas"]
    theirs = [schema for name, schema in served.items() if plain(name) == answer.__name__]
    own = answer.model_json_schema(mode="serialization")
    known = own.get("$defs", {})
    described = {name: kinds(schema, known) for name, schema in own["properties"].items()}
    said = [
        {name: kinds(schema, served) for name, schema in each["properties"].items() if name in described}
        for each in theirs
    ]
    assert described in said, f"the server says {said}"


def asked() -> Iterator[tuple[str, str]]:
    """Every request in the client's source, as its method and its address."""
    for node in ast.walk(ast.parse(inspect.getsource(client))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, arguments = node.func.attr, [*map(_text, node.args)]
        if name in {"send", "stream", "read"} and any(each in {"GET", "POST", "PATCH", "DELETE"} for each in arguments):
            place = next(index for index, each in enumerate(arguments) if each.isupper())
            yield arguments[place], arguments[place + 1]
        elif name == "_pages":
            yield "GET", arguments[1]
        elif name == "_download":
            yield "GET", arguments[0]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def test_every_request_is_one_that_the_server_takes(web: FastAPI) -> None:
    served = {
        (method.upper(), re.sub(r"{[^}]*}", "{}", path).removeprefix("/api/v1"))
        for path, methods in web.openapi()["paths"].items()
        for method in methods
    }
    found = [each for each in asked() if each[1]]
    assert len(found) > 25
    assert [each for each in found if each not in served] == []


def test_the_client_needs_httpx_and_pydantic_alone() -> None:
    said = "import sys, app.client; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.split()
    assert [each for each in loaded if each.startswith(FOREIGN)] == []
    assert {"httpx", "pydantic"} <= set(loaded)
    assert Path(client.__file__).parent.name == "client"
