"""A server of tools: MCP over streamable HTTP, in a thread of this process, which misbehaves where it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WEATHER = {
    "name": "weather",
    "description": "The weather in a city.",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@dataclass
class ToolServer:
    """Lists ``pages`` of tools and answers every call with ``result``, or with ``raw``: status, type and body."""

    pages: list[list[dict[str, Any]]] = field(default_factory=lambda: [[WEATHER]])
    result: Any = field(default_factory=lambda: {"content": [{"type": "text", "text": "Rain in Bergen."}]})
    raw: tuple[int, str, bytes] | None = None
    events: bool = False
    """Whether calls are answered by a stream of events, with a notification before the answer."""
    version: str = "2025-06-18"
    silent: threading.Event = field(default_factory=threading.Event)
    """Set: a call waits for the end of the test."""
    ended: threading.Event = field(default_factory=threading.Event)
    sessions: set[str] = field(default_factory=set)
    asked: list[tuple[dict[str, Any], dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def methods(self) -> list[str]:
        return [str(body["method"]) for body, _ in self.asked]

    @contextlib.contextmanager
    def running(self) -> Iterator[ToolServer]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("OurHandler", (_Handler,), {"told": self}))
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    told: ToolServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.told.asked.append((body, {name.lower(): value for name, value in self.headers.items()}))
        method, number = body["method"], body.get("id")
        if method == "initialize":
            session = f"session-{len(self.told.asked)}"
            self.told.sessions.add(session)
            result = {"protocolVersion": self.told.version, "capabilities": {"tools": {}}, "serverInfo": {}}
            self._send(200, "application/json", _answer(number, result), session)
        elif self.headers.get("mcp-session-id") not in self.told.sessions:
            self._send(404, "application/json", b"{}")
        elif number is None:
            self._send(202, "", b"")
        elif method == "tools/list":
            page = int(body["params"].get("cursor", 0))
            more = {"nextCursor": str(page + 1)} if page + 1 < len(self.told.pages) else {}
            self._send(200, "application/json", _answer(number, {"tools": self.told.pages[page]} | more))
        else:
            self._call(number)

    def _call(self, number: int) -> None:
        if self.told.silent.is_set():
            self.told.ended.wait()
        if self.told.raw is not None:
            return self._send(*self.told.raw)
        answer = _answer(number, self.told.result)
        if not self.told.events:
            return self._send(200, "application/json; charset=utf-8", answer)
        noted = b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}'
        stream = b"id: 1\r\ndata:\r\n\r\n: a comment\ndata: " + noted + b"\n\nevent: message\ndata: " + answer
        return self._send(200, "text/event-stream", stream + b"\n\n")

    def _send(self, status: int, kind: str, body: bytes, session: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if status == 307:
            self.send_header("location", "http://169.254.169.254/latest/meta-data")
        if session:
            self.send_header("mcp-session-id", session)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


def _answer(number: int | None, result: Any) -> bytes:
    known = result if isinstance(result, dict) and "error" in result else {"result": result}
    return json.dumps({"jsonrpc": "2.0", "id": number} | known).encode()
