"""Somebody who is told: a real server on this machine that answers as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.certified import Files, serving


@dataclass
class Receiver:
    """What arrived, and how it is answered: a status, with headers; or never, until :meth:`let_go`."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    arrived: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    _gone: threading.Event = field(default_factory=threading.Event)

    def let_go(self) -> None:
        """Whoever hangs goes on."""
        self._gone.set()

    def wait(self) -> None:
        """Hang, where that is wanted."""
        if self.hangs:
            self._gone.wait()


@contextmanager
def receiving(files: Files | None = None) -> Iterator[Receiver]:
    """A receiver that listens: to this machine, or by https, with a certificate and its key, to whoever reaches it."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.arrived.append(({name.lower(): value for name, value in self.headers.items()}, body))
            receiver.wait()
            self.send_response(receiver.status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("" if files else "127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    if files:
        server.socket = serving(files).wrap_socket(server.socket, server_side=True)
        receiver.url = f"https://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.let_go()
        server.shutdown()
        server.server_close()
        thread.join()
