"""Tools of others: servers that speak MCP over streamable HTTP, one JSON-RPC request a POST.

The operator names the servers. A model writes arguments alone, which go into the body of a request: it never says where one is
sent, and nobody is followed to another address. Whatever comes back is bounded in time and size, and whatever is no answer (a web
page, an error, too much, nothing) is a call that failed, with its reason.

Spoken are the revisions that begin with a handshake (``initialize``), which every server of them understands: tools are listed
and called. Left out: programs as servers (stdio), the older HTTP+SSE, the revisions without a handshake, OAuth, and whatever a
server may ask of its caller (sampling, elicitation, roots).
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from workers.tools.protocol import ToolFailed, cut

BETWEEN: Final = "__"
"""Stands in the name of a tool between its server's name and its name there."""
VERSION: Final = "2025-06-18"
VERSIONS: Final = frozenset({"2025-03-26", VERSION, "2025-11-25"})
MOST_BYTES: Final = 1 << 20
"""Of one answer."""
MOST_TOOLS: Final = 256
MOST_PAGES: Final = 16
_SESSION: Final = "mcp-session-id"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"

Message = dict[str, Any]


class _Forgotten(Exception):
    """The server does not know the session any more, and has done nothing."""


@dataclass(frozen=True)
class Offered:
    """A tool as its server describes it."""

    name: str
    description: str
    parameters: dict[str, Any]


class Server:
    """One server, called from several threads; a session is begun with the first call, and again where it was forgotten.

    Args:
        name: What the operator calls it.
        url: Its one address.
        key: A bearer token; empty for none.
        seconds: For one call, its answer included.
    """

    def __init__(self, name: str, url: str, key: str = "", seconds: float = 20.0) -> None:
        self.name, self._url, self._seconds = name, url, seconds
        headers = {"accept": f"{_JSON}, {_EVENTS}", "accept-encoding": "identity"}
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, follow_redirects=False)
        self._numbers = itertools.count(1)
        self._beginning = threading.Lock()
        self._session: dict[str, str] | None = None

    def close(self) -> None:
        """Close the connections. Sessions are left to end by themselves, as those of a caller that was killed are."""
        self._http.close()

    def tools(self) -> list[Offered]:
        """What it offers.

        Raises:
            ToolFailed: it does not say so.
        """
        found: list[Offered] = []
        asked: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = self._request("tools/list", asked)
            listed = page.get("tools")
            if not isinstance(listed, list):
                raise ToolFailed(f"{self.name} lists no tools")
            found += [self._offered(tool) for tool in listed]
            if not page.get("nextCursor") or len(found) >= MOST_TOOLS:
                break
            asked = {"cursor": page["nextCursor"]}
        return found[:MOST_TOOLS]

    def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a tool answers, as text.

        Raises:
            ToolFailed: it has no answer, whatever the reason.
        """
        return self._text(self._request("tools/call", {"name": tool, "arguments": dict(arguments)}))

    def _offered(self, tool: Any) -> Offered:
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise ToolFailed(f"{self.name} lists a tool without a name")
        schema = tool.get("inputSchema")
        return Offered(tool["name"], str(tool.get("description") or ""), schema if isinstance(schema, dict) else {})

    def _text(self, result: Message) -> str:
        content = result.get("content")
        parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
        texts = [str(part.get("text", "")) for part in parts if part.get("type") == "text"]
        others = [str(part.get("type")) for part in parts if part.get("type") != "text"]
        said = "\n".join(texts).strip()
        if not said and result.get("structuredContent") is not None:
            said = json.dumps(result["structuredContent"], ensure_ascii=False)
        if result.get("isError"):
            raise ToolFailed(cut(said) or f"{self.name} says that the call failed, and not why")
        if said.lstrip()[:200].lower().startswith(("<!doctype html", "<html")):
            raise ToolFailed(f"{self.name} answered with a web page")
        if not said and others:
            raise ToolFailed(f"{self.name} answered with {', '.join(sorted(set(others)))[:80]}, which is no text")
        return cut(said)

    # ── JSON-RPC ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _request(self, method: str, params: Mapping[str, Any]) -> Message:
        ends = time.monotonic() + self._seconds
        try:
            try:
                return self._asked(method, params, self._begun(ends), ends)
            except _Forgotten:
                return self._asked(method, params, self._begun(ends, anew=True), ends)
        except _Forgotten:
            raise ToolFailed(f"{self.name} knows no such address (HTTP 404)") from None
        except httpx.TimeoutException:
            raise self._late() from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ToolFailed(f"{self.name} cannot be reached ({type(error).__name__})") from None

    def _begun(self, ends: float, *, anew: bool = False) -> dict[str, str]:
        """The headers of the session, which is begun where there is none."""
        with self._beginning:
            if self._session is None or anew:
                about = {"name": "corral", "version": "1"}
                params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": about}
                said, session = self._posted("initialize", params, {}, ends)
                spoken = self._result(said).get("protocolVersion")
                if spoken not in VERSIONS:
                    raise ToolFailed(f"{self.name} speaks MCP {str(spoken)[:40]}, which Corral does not")
                headers = {"mcp-protocol-version": str(spoken)} | ({_SESSION: session} if session else {})
                self._posted("notifications/initialized", None, headers, ends)
                self._session = headers
            return self._session

    def _asked(self, method: str, params: Mapping[str, Any], session: Mapping[str, str], ends: float) -> Message:
        said, _ = self._posted(method, params, session, ends)
        return self._result(said)

    def _result(self, said: Message | None) -> Message:
        error = (said or {}).get("error")
        if isinstance(error, dict):
            raise ToolFailed(f"{self.name}: {str(error.get('message') or 'an error without a message')[:500]}")
        result = (said or {}).get("result")
        if not isinstance(result, dict):
            raise ToolFailed(f"{self.name} did not answer the call")
        return result

    def _posted(
        self, method: str, params: Mapping[str, Any] | None, headers: Mapping[str, str], ends: float
    ) -> tuple[Message | None, str | None]:
        """The message that answers a request, none of a notification; and the session that was begun."""
        number = None if params is None else next(self._numbers)
        body: Message = {"jsonrpc": "2.0", "method": method}
        body |= {} if number is None else {"id": number, "params": dict(params or {})}
        left = max(0.1, ends - time.monotonic())
        with self._http.stream("POST", self._url, json=body, headers=dict(headers), timeout=left) as reply:
            if reply.status_code == 404 and _SESSION in headers:
                raise _Forgotten
            kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
            self._refuse(reply, kind)
            if number is None or reply.status_code == 202:
                return None, None
            messages = self._events(reply, ends) if kind == _EVENTS else iter(self._whole(reply, ends))
            answers = (each for each in messages if each.get("id") == number and {"result", "error"} & each.keys())
            return next(answers, None), reply.headers.get(_SESSION)

    def _refuse(self, reply: httpx.Response, kind: str) -> None:
        status = reply.status_code
        if reply.is_redirect:
            raise ToolFailed(f"{self.name} sends the call elsewhere (HTTP {status}), where it is not followed")
        if status in {401, 403}:
            raise ToolFailed(f"{self.name} refuses the key (HTTP {status})")
        if status == 202 or (reply.is_success and kind in {_JSON, _EVENTS}):
            return
        if kind == _JSON and status == 400:  # says in JSON-RPC what is wrong
            return
        what = "a web page" if kind == "text/html" else kind[:80] or "nothing"
        raise ToolFailed(f"{self.name} answered with {what} (HTTP {status})")

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _parts(self, reply: httpx.Response, ends: float) -> Iterator[bytes]:
        size = 0
        for part in reply.iter_raw():
            size += len(part)
            if size > MOST_BYTES:
                raise ToolFailed(f"{self.name} answered with more than {MOST_BYTES:,} bytes")
            if time.monotonic() > ends:
                raise self._late()
            yield part

    def _late(self) -> ToolFailed:
        return ToolFailed(f"{self.name} took longer than {self._seconds:g} s")

    def _whole(self, reply: httpx.Response, ends: float) -> list[Message]:
        said = self._read(b"".join(self._parts(reply, ends)))
        return [each for each in (said if isinstance(said, list) else [said]) if isinstance(each, dict)]

    def _events(self, reply: httpx.Response, ends: float) -> Iterator[Message]:
        """The messages of a stream of events, as they come."""
        rest, data = b"", list[bytes]()
        for part in itertools.chain(self._parts(reply, ends), (b"\n\n",)):
            *lines, rest = (rest + part).replace(b"\r\n", b"\n").split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    data.append(line[5:].removeprefix(b" "))
                elif not line and data:
                    said = self._read(b"\n".join(data)) if any(data) else None
                    data = []
                    if isinstance(said, dict):
                        yield said

    def _read(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise ToolFailed(f"{self.name} answered with what is no JSON") from None


class ForeignTool:
    """A tool of a server, as a prompt declares it; the server holds the arguments to its own schema once more."""

    def __init__(self, server: Server, name: str, description: str, parameters: dict[str, Any]) -> None:
        self.name, self.description, self._parameters = name, description, parameters
        self._server = server

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON schema of the arguments, as the prompt has it."""
        return self._parameters

    def run(self, arguments: dict[str, Any]) -> str:
        """What the server answers, within its time.

        Raises:
            ToolFailed: there is no answer.
        """
        return self._server.call(self.name.partition(BETWEEN)[2], arguments)


def server_of(name: str) -> str | None:
    """The server in the name of a tool; None where it has none."""
    server, between, rest = name.partition(BETWEEN)
    return server if server and between and rest else None
