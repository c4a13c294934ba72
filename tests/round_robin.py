"""A load balancer that knows nothing of what it balances: each connection goes to the next engine that accepts one."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class RoundRobin:
    """Listens on ``port``; :meth:`running` serves from threads of this process."""

    ports: Sequence[int]
    port: int = 0
    led: list[int] = field(default_factory=list)
    """The port that each connection was led to."""

    @property
    def url(self) -> str:
        """The address for ``CORRAL_ENGINE_URL``."""
        return f"http://127.0.0.1:{self.port}/v1"

    @contextlib.contextmanager
    def running(self) -> Iterator[RoundRobin]:
        """Listen within the block."""
        with socket.create_server(("127.0.0.1", self.port), backlog=256) as server:
            self.port = server.getsockname()[1]
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()
            try:
                yield self
            finally:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)

    def _serve(self, server: socket.socket) -> None:
        for turn in itertools.count():
            try:
                client, _ = server.accept()
            except OSError:
                return
            first = turn % len(self.ports)
            in_order = [*self.ports[first:], *self.ports[:first]]
            threading.Thread(target=self._lead, args=(client, in_order), daemon=True).start()

    def _lead(self, client: socket.socket, ports: Sequence[int]) -> None:
        with client:
            for port in ports:
                try:
                    engine = socket.create_connection(("127.0.0.1", port))
                except OSError:
                    continue
                self.led.append(port)
                with engine:
                    back = threading.Thread(target=_pipe, args=(engine, client), daemon=True)
                    back.start()
                    _pipe(client, engine)
                    back.join()
                return


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
