"""The web server as a child of ``corral up``: listens on a socket that it is given, and opens once it may.

``corral up`` binds the socket before anything else, so a taken port is found at once and a browser that comes early
waits instead of being refused. The modules load while the database starts and is migrated; the gate, a pipe whose other
end is closed when that is done, holds back the first answer until then.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SERVING = "corral: serving"
"""The line that tells ``corral up`` that requests are answered."""
STOP_DEADLINE = 5


@dataclass(frozen=True)
class Inherited:
    """File descriptors from the parent."""

    listener: int
    gate: int


def main(arguments: Sequence[str]) -> None:
    """``python -m app.serve LISTENER GATE``."""
    inherited = Inherited(*map(int, arguments))
    import uvicorn

    from app.main import create_app

    class Announcing(uvicorn.Server):
        """Says when it serves."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            sys.stdout.write(f"{SERVING}\n")
            sys.stdout.flush()

    web: Any = create_app()
    config = uvicorn.Config(
        web,
        access_log=False,
        log_config=None,  # app.logs has set it up
        timeout_graceful_shutdown=STOP_DEADLINE,
        server_header=False,
    )
    config.load()
    os.read(inherited.gate, 1)
    Announcing(config).run(sockets=[socket.socket(fileno=inherited.listener)])


if __name__ == "__main__":
    main(sys.argv[1:])
