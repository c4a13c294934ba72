"""The web server: by itself (``python -m app.site.serve``), or as a child of ``corral up``, on a socket that it is given.

``corral up`` binds the socket before anything else, so a taken port is found at once and a browser that comes early
waits instead of being refused. The modules load while the database starts and is migrated; the gate, a pipe whose other
end is closed when that is done, holds back the first answer until then.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from app.kernel.settings import Settings, get_settings

if TYPE_CHECKING:
    import asyncio

    import uvicorn

SERVING = "corral: serving"
"""The line that tells ``corral up`` that requests are answered."""
STOP_DEADLINE = 5


@dataclass(frozen=True)
class Inherited:
    """File descriptors from the parent."""

    listener: int
    gate: int


def configured(web: Any, settings: Settings) -> uvicorn.Config:
    """What uvicorn is told, with the bounds of ``app.site.connections``."""
    import uvicorn

    from app.site.connections import Connection, Crowd

    return uvicorn.Config(
        web,
        host=settings.host,
        port=settings.port,
        http=cast("type[asyncio.Protocol]", partial(Connection, crowd=Crowd(settings))),
        ws="none",  # a connection that became one would be out of all bounds
        access_log=False,
        log_config=None,  # app.shell.logs has set it up
        timeout_graceful_shutdown=STOP_DEADLINE,
        server_header=False,
        proxy_headers=bool(settings.proxy_list),
        forwarded_allow_ips=settings.proxy_list,
    )


def main(arguments: Sequence[str]) -> None:
    """``python -m app.site.serve``, or with LISTENER and GATE."""
    inherited = Inherited(*map(int, arguments)) if arguments else None
    import uvicorn

    from app.site.main import create_app

    class Announcing(uvicorn.Server):
        """Says when it serves."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            sys.stdout.write(f"{SERVING}\n")
            sys.stdout.flush()

    config = configured(create_app(), get_settings())
    config.load()
    # What is loaded by now stays as long as the server. A full collection that walks it stops every request for 0.14 s.
    gc.freeze()
    if inherited is None:
        Announcing(config).run()
    else:
        os.read(inherited.gate, 1)
        Announcing(config).run(sockets=[socket.socket(fileno=inherited.listener)])


if __name__ == "__main__":
    main(sys.argv[1:])
