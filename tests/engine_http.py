"""The HTTP side of :mod:`tests.fake_engine`: the paths of an engine, and what a fault does to a reply on its way."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engine_faults import Fault, Mode

if TYPE_CHECKING:
    from tests.fake_engine import FakeEngine


def drop(connection: socket.socket) -> None:
    """Hang up on whoever is at the other end."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that end mid-reply are part of the tests."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection; ``fake`` decides what is answered."""

    fake: FakeEngine
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.fake.connection(self.connection, open_=True)

    def finish(self) -> None:
        self.fake.connection(self.connection, open_=False)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """``/v1/models``, ``/version``, ``/health``."""
        own = {"id": self.fake.base, "object": "model", "max_model_len": self.fake.context, "parent": None}
        own |= {"root": self.fake.root}
        adapters = [{"id": n, "root": p, "parent": self.fake.base} for n, p in dict(self.fake.adapters).items()]
        pages: dict[str, Any] = {
            "/v1/models": {"object": "list", "data": [own, *adapters]},
            "/version": {"version": "0.0-fake"},
            "/health": {},
            "/is_sleeping": {"is_sleeping": self.fake.asleep},
        }
        self.answer(200 if self.path in pages else 404, pages.get(self.path, {"error": {"message": "no such page"}}))

    def do_POST(self) -> None:
        """Completions and adapters, and sleep."""
        path = self.path.partition("?")[0]
        if path in {"/sleep", "/wake_up"}:
            self.fake.told.append(self.path)
            self.fake.asleep = path == "/sleep"
            self.answer(200, {"status": "sleeping" if self.fake.asleep else "awake"})
            return
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path in {"/v1/completions", "/v1/chat/completions"}:
            self.sample(body)
        elif self.path == "/v1/load_lora_adapter":
            self.load(body)
        elif self.path == "/v1/unload_lora_adapter":
            known = self.fake.adapters.pop(body["lora_name"], None)
            self.answer(200 if known else 404, {} if known else {"error": {"message": "The adapter cannot be found"}})
        elif self.path == "/fake/faults":
            self.fake.faults[:] = [Fault(Mode(f["mode"]), f.get("match", ""), f.get("times")) for f in body]
            self.answer(200, {})
        else:
            self.answer(404, {"error": {"message": "no such page"}})

    def load(self, body: dict[str, Any]) -> None:
        name, path = body["lora_name"], body["lora_path"]
        if self.fake.meets(name) is Mode.HANG and self.fake.wait(600):
            self.close_connection = True
            return
        if name in self.fake.adapters:
            self.answer(400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}})
        elif not (Path(path) / "adapter_model.safetensors").is_file():
            self.answer(404, {"error": {"message": f"Loading lora {name} failed: No adapter found for {path}"}})
        else:
            self.fake.adapters[name] = path
            self.answer(200, {})

    def resolve(self, name: str) -> bool:
        """Load what is asked for, as vLLM's filesystem resolver does; else say why not."""
        if self.fake.meets(name) is Mode.HANG and self.fake.wait(600):
            self.close_connection = True
            return False
        folder = self.fake.resolves and self.fake.resolves / name
        config = folder and folder / "adapter_config.json"
        said = json.loads(config.read_bytes()) if config and config.is_file() else {}
        if not folder or said.get("base_model_name_or_path") != self.fake.root or said.get("peft_type") != "LORA":
            self.answer(404, {"error": {"message": f"The model `{name}` does not exist."}})
            return False
        if not (folder / "adapter_model.safetensors").is_file():
            self.answer(400, {"error": {"message": f"LoRA adapter '{name}' was found but could not be loaded."}})
            return False
        self.fake.adapters[name] = str(folder)
        return True

    def sample(self, body: dict[str, Any]) -> None:
        if body["model"] not in {self.fake.base, *self.fake.adapters} and not self.resolve(body["model"]):
            return
        mode = self.fake.note(body)
        while self.fake.asleep and not self.fake.wait(0.02):
            pass
        if mode is Mode.DISCONNECT or self.fake.wait(600 if mode is Mode.HANG else self.fake.delay):
            self.close_connection = True
            return
        if mode is Mode.ERROR:
            self.answer(500, {"error": {"message": "EngineCore encountered an issue"}})
            return
        if self.fake.refuses and self.fake.refuses in body:
            self.answer(400, {"error": {"message": f"Invalid {self.fake.refuses} specification."}})
            return
        if mode is Mode.REFUSED:
            self.answer(400, {"error": {"message": "top_p must be in (0, 1]"}})
            return
        if "stream_options" in body and mode is not Mode.NOT_JSON:
            delay = self.fake.word_delays.get(body["model"], self.fake.word_delay)
            self.stream(self.fake.reply(body, mode), chat="messages" in body, mode=mode, delay=delay)
            return
        payload = json.dumps(self.fake.reply(body, mode)).encode()
        if mode is Mode.NOT_JSON:
            payload = b"<html><body>502 Bad Gateway</body></html>"
        if mode is Mode.TRUNCATED:
            payload = payload[: len(payload) // 2]
        self.send(200, payload, stall=mode is Mode.STALL)

    def stream(self, reply: dict[str, Any], *, chat: bool, mode: Mode | None, delay: float) -> None:
        """The reply word by word as server-sent events; a stall waits and a truncation hangs up in the middle."""
        choice = reply["choices"][0]
        words = re.findall(r"\S+\s*", choice["message"]["content"] if chat else choice["text"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for at, word in enumerate(words):
            if at == len(words) // 2 and mode in {Mode.STALL, Mode.TRUNCATED}:
                if mode is Mode.STALL:
                    self.fake.wait(600)
                return
            said = {"delta": {"content": word}} if chat else {"text": word}
            self.event({"model": reply["model"], "choices": [{"index": 0} | said]})
            if self.fake.wait(delay) or (at + 1 == self.fake.held_after and self.fake.held()):
                return
        ending: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        last = {"index": 0, "finish_reason": choice["finish_reason"], **ending}
        self.event({"choices": [last]})
        self.event({"choices": [], "usage": reply.get("usage")})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, body: Any) -> None:
        self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
        self.wfile.flush()

    def answer(self, status: int, body: Any) -> None:
        self.send(status, json.dumps(body).encode())

    def send(self, status: int, payload: bytes, *, stall: bool = False) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload[: len(payload) // 2] if stall else payload)
        self.wfile.flush()
        if stall:
            self.fake.wait(600)
            self.close_connection = True
