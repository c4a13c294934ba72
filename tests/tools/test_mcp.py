"""Tools of servers: what is no answer is a call that failed, with its reason, and nothing else happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from app.kernel.settings import Settings
from tests.tools.mcp_server import WEATHER, ToolServer
from workers import toolbox
from workers.tools import mcp
from workers.tools.kit import made, runs
from workers.tools.mcp import Server, server_of
from workers.tools.protocol import MOST_CHARACTERS, ToolFailed

PAGE = b"<!DOCTYPE html><html><body>Sign in</body></html>"


@pytest.fixture
def told() -> Iterator[ToolServer]:
    with ToolServer().running() as server:
        yield server


@pytest.fixture
def server(told: ToolServer) -> Iterator[Server]:
    made = Server("demo", told.url, "key-of-the-server-x7Qp2LmZ", seconds=30)
    yield made
    made.close()


def test_one_session_lists_and_calls_with_the_key_and_the_revision_that_was_agreed_on(
    told: ToolServer, server: Server
) -> None:
    told.pages = [[WEATHER], [WEATHER | {"name": "tides"}]]
    assert [tool.name for tool in server.tools()] == ["weather", "tides"]
    assert server.call("weather", {"city": "Bergen"}) == "Rain in Bergen."
    assert told.methods == [
        *("initialize", "notifications/initialized", "tools/list", "tools/list", "tools/call"),
    ]
    body, headers = told.asked[-1]
    assert body["params"] == {"name": "weather", "arguments": {"city": "Bergen"}}
    assert (headers["mcp-protocol-version"], headers["mcp-session-id"]) == ("2025-06-18", "session-1")
    assert {each["authorization"] for _, each in told.asked} == {"Bearer key-of-the-server-x7Qp2LmZ"}


def test_an_answer_may_come_as_a_stream_of_events(told: ToolServer, server: Server) -> None:
    told.events = True
    assert server.call("weather", {}) == "Rain in Bergen."


def test_a_session_that_was_forgotten_is_begun_again(told: ToolServer, server: Server) -> None:
    server.call("weather", {})
    told.sessions.clear()
    assert server.call("weather", {}) == "Rain in Bergen."
    assert told.methods[-4:] == ["tools/call", "initialize", "notifications/initialized", "tools/call"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ((200, "text/html; charset=utf-8", PAGE), "demo answered with a web page (HTTP 200)"),
        ((502, "text/html", PAGE), "demo answered with a web page (HTTP 502)"),
        ((500, "application/json", b"{}"), "demo answered with application/json (HTTP 500)"),
        ((200, "application/json", PAGE), "demo answered with what is no JSON"),
        ((200, "application/json", b"[" * 100_000), "demo answered with what is no JSON"),
        ((200, "application/json", b"[3]"), "demo did not answer the call"),
        ((200, "application/json", b" " * (mcp.MOST_BYTES + 1)), "demo answered with more than 1,048,576 bytes"),
        ((200, "text/event-stream", b"data: <html>\n\n"), "demo answered with what is no JSON"),
        ((200, "text/event-stream", b"data: {}\n\n"), "demo did not answer the call"),
        ((307, "text/plain", b""), "demo sends the call elsewhere (HTTP 307), where it is not followed"),
        ((401, "text/plain", b""), "demo refuses the key (HTTP 401)"),
        ((404, "text/plain", b""), "demo knows no such address (HTTP 404)"),
    ],
)
def test_what_is_no_answer_is_a_call_that_failed(
    told: ToolServer, server: Server, raw: tuple[int, str, bytes], why: str
) -> None:
    told.raw = raw
    with pytest.raises(ToolFailed) as failed:
        server.call("weather", {})
    assert str(failed.value) == why


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"error": {"code": -32602, "message": "Unknown tool: weather"}}, "demo: Unknown tool: weather"),
        ({"isError": True, "content": [{"type": "text", "text": "No such city."}]}, "No such city."),
        ({"isError": True}, "demo says that the call failed, and not why"),
        ({"content": [{"type": "text", "text": PAGE.decode()}]}, "demo answered with a web page"),
        ({"content": [{"type": "image", "data": "…"}]}, "demo answered with image, which is no text"),
        (["Rain"], "demo did not answer the call"),
    ],
)
def test_what_a_tool_says_is_held_to_be_text(told: ToolServer, server: Server, result: Any, why: str) -> None:
    told.result = result
    with pytest.raises(ToolFailed) as failed:
        server.call("weather", {})
    assert str(failed.value) == why


def test_text_is_cut_to_what_every_tool_may_say_and_data_is_text_as_well(told: ToolServer, server: Server) -> None:
    told.result = {"content": [{"type": "text", "text": "x" * (3 * MOST_CHARACTERS)}, {"type": "image"}]}
    assert len(server.call("weather", {})) < MOST_CHARACTERS + 10
    told.result = {"content": [], "structuredContent": {"rain": "å"}}
    assert server.call("weather", {}) == '{"rain": "å"}'


def test_a_server_that_is_away_silent_or_of_another_revision_is_named(told: ToolServer) -> None:
    told.silent.set()
    with pytest.raises(ToolFailed, match=r"^demo took longer than 0\.5 s$"):
        Server("demo", told.url, seconds=0.5).call("weather", {})
    told.version = "2031-01-01"
    with pytest.raises(ToolFailed, match=r"^demo speaks MCP 2031-01-01, which Corral does not$"):
        Server("demo", told.url).tools()
    with pytest.raises(ToolFailed, match=r"^demo cannot be reached \(ConnectError\)$"):
        Server("demo", "http://127.0.0.1:1/mcp").tools()


def test_a_prompts_tool_is_run_where_its_server_is_named(told: ToolServer, server: Server) -> None:
    declared = {"type": "function", "function": {"name": "demo__weather", "parameters": WEATHER["inputSchema"]}}
    assert server_of("demo__weather") == "demo"
    assert [server_of(name) for name in ("weather", "demo__", "__weather", "demo_weather")] == [None] * 4
    assert not runs([declared])
    assert runs([declared], None, {"demo"})
    assert not runs([declared, {"name": "other__weather"}], None, {"demo"})
    assert not runs([declared], [{"kind": "tool_calls", "calls": []}], {"demo"})
    [tool] = made([declared], None, {"demo": server})
    assert (tool.name, tool.parameters["properties"]) == ("demo__weather", {"city": {"type": "string"}})
    assert tool.run({"city": "Bergen"}) == "Rain in Bergen."
    assert told.asked[-1][0]["params"]["name"] == "weather"


def test_the_tools_that_there_are_are_written_as_prompts_declare_them(
    told: ToolServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told.pages = [[WEATHER, WEATHER | {"name": "sea/tides"}]]
    away = {"away": {"url": "http://127.0.0.1:1/mcp"}}
    settings = Settings.model_validate({"tool_servers": {"demo": {"url": told.url}} | away})
    monkeypatch.setattr(toolbox, "get_settings", lambda: settings)
    assert toolbox.main() == 1
    said = capsys.readouterr()
    tools = [json.loads(line)["function"] for line in said.out.splitlines()]
    assert [tool["name"] for tool in tools] == ["calculator", "python", "search", "demo__weather"]
    assert tools[-1]["parameters"] == WEATHER["inputSchema"]
    assert said.err.splitlines() == [
        "demo__sea/tides is left out: a name has at most 64 letters, digits, _ and -",
        "away cannot be reached (ConnectError)",
    ]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("demo", "ftp://tools.example/mcp"),
        ("demo", "https://alice:secret@tools.example/mcp"),
        ("demo", "https:///mcp"),
        ("my__server", "https://tools.example/mcp"),
        ("Demo", "https://tools.example/mcp"),
    ],
)
def test_a_server_has_a_plain_name_and_a_plain_address(name: str, url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"tool_servers": {name: {"url": url}}})
    Settings.model_validate({"tool_servers": {"demo": {"url": "https://tools.example/mcp"}}})


def test_a_deployment_refuses_a_weak_key_of_a_server() -> None:
    weak = {"demo": {"url": "https://tools.example/mcp", "key": "secret"}}
    strong = {
        "refuse_weak_secrets": True,
        "database_url": "postgresql://corral:x7Qp2LmZk49vTn83@db/corral",
        "broker_url": "redis://:x7Qp2LmZk49vTn83@broker/0",
        "engine_api_key": "x7Qp2LmZk49vTn83",
    }
    with pytest.raises(ValidationError, match="the key of demo in CORRAL_TOOL_SERVERS is shorter"):
        Settings.model_validate(strong | {"tool_servers": weak})
