"""A model that writes what a test says it writes: OpenAI's chat API over real HTTP, and no more of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Writer:
    """Answers each question by ``says``; ``raw`` is sent as it is, instead."""

    says: Callable[[str], str]
    raw: bytes | None = None
    finish_reason: str = "stop"
    url: str = ""
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def body(self, sent: dict[str, Any]) -> bytes:
        """What is answered."""
        question = sent["messages"][-1]["content"]
        self.asked.append(question)
        if self.raw is not None:
            return self.raw
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.says(question)},
            "finish_reason": self.finish_reason,
        }
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


@contextmanager
def serving(writer: Writer) -> Iterator[Writer]:
    """The writer behind ``writer.url``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            writer.keys.add(self.headers.get("authorization", ""))
            body = writer.body(sent)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    writer.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
