"""Which tools of a prompt are run: those that Corral has under the same name, taking the same arguments, and those of servers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from workers.tools.calculator import Calculator
from workers.tools.documents import Search
from workers.tools.interpreter import Interpreter
from workers.tools.mcp import ForeignTool, Server, server_of
from workers.tools.protocol import Tool
from workers.tools.schemas import BadSchema, function_of, schema_of

_OWN: Final[dict[str, type[Calculator | Interpreter | Search]]] = {
    kind.name: kind for kind in (Calculator, Interpreter, Search)
}
NAMES: Final = tuple(_OWN)


def runs(tools: Sequence[Any] | None, tests: Any = None, servers: Collection[str] = ()) -> bool:
    """Whether calls of these tools are run while a prompt is answered; ``servers`` are the names of those that there are.

    All of them have to be Corral's or a server's, or an answer would stop half-way. A prompt with a test of the calls
    themselves is answered by its calls, which nothing runs.
    """
    tested = tests if isinstance(tests, list) else [tests]
    if not tools or any(isinstance(test, Mapping) and test.get("kind") == "tool_calls" for test in tested):
        return False
    return all(isinstance(tool, Mapping) and (_is_ours(tool) or _is_of(tool, servers)) for tool in tools)


def searches(tools: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the search tool is among them."""
    return any(function_of(tool)["name"] == Search.name for tool in tools)


def made(
    tools: Sequence[Mapping[str, Any]], search: Search | None, servers: Mapping[str, Server] | None = None
) -> list[Tool]:
    """What runs calls of these tools; ``search`` has the documents, ``servers`` run what is theirs."""
    found: list[Tool] = []
    for name, tool in {function_of(tool)["name"]: tool for tool in tools}.items():
        server = (servers or {}).get(server_of(name) or "")
        if server is not None:
            found.append(ForeignTool(server, name, str(function_of(tool).get("description") or ""), schema_of(tool)))
        elif name == Search.name:
            found += [search] if search else []
        else:
            found.append(Calculator() if name == Calculator.name else Interpreter())
    return found


def _is_of(tool: Mapping[str, Any], servers: Collection[str]) -> bool:
    try:
        return server_of(function_of(tool)["name"]) in servers and bool(schema_of(tool))
    except BadSchema:
        return False


def _is_ours(tool: Mapping[str, Any]) -> bool:
    try:
        kind = _OWN.get(function_of(tool)["name"])
        declared = schema_of(tool).get("properties")
    except BadSchema:
        return False
    if kind is None or not isinstance(declared, Mapping):
        return False
    needed: list[str] = kind.parameters["required"]
    return set(needed) <= set(declared)
