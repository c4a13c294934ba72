"""By whose names requests may call this server.

Links follow that name where ``CORRAL_PUBLIC_URL`` is empty, and so does the check of where a request comes from: with any
name let in, a page of somebody whose name is led to our address would pass for ours. A name that is answered to is

- one of ``CORRAL_HOSTS``, or ``CORRAL_HOST``, or the host of ``CORRAL_PUBLIC_URL``;
- a loopback name or address: nobody else's name means this machine;
- the address that the connection came in on: a browser that is led elsewhere still says the name that led it.

Ports are not looked at: behind a published or forwarded port, browsers say another one than ours.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from starlette.responses import Response

from app.kernel import origin
from app.kernel.addresses import bare_host, host_of
from app.kernel.settings import Settings, get_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_NAMED = re.compile(
    r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?)(?::[0-9]{0,5})?", re.IGNORECASE | re.ASCII
)
REMEDY = "add the name to CORRAL_HOSTS, or set CORRAL_PUBLIC_URL to the address that browsers use."


class HostCheck:
    """Refuses a request that calls us by a name that is not ours, before anything else is done for it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        message = None if scope["type"] == "lifespan" else refusal(scope, get_settings())
        if message is None:
            await self.app(scope, receive, send)
            return
        origin.current().reason = message
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": message})
        elif scope["path"].startswith("/api/"):
            body = {"type": "about:blank", "title": "Unknown host", "status": 400, "detail": message}
            await Response(json.dumps(body), 400, media_type="application/problem+json")(scope, receive, send)
        else:
            await Response(message, 400, media_type="text/plain")(scope, receive, send)


def refusal(scope: Scope, settings: Settings) -> str | None:
    """Why this request is not answered; None where it names a host of ours."""
    named = [value.decode("latin1") for name, value in scope["headers"] if name == b"host"]
    if not named and scope.get("http_version") == "1.0":
        return None  # it could not know better, and links then follow the address that it came in on
    match = _NAMED.fullmatch(named[0]) if len(named) == 1 else None
    if match is None:
        return "The request must name one host, as in “Host: corral.example”."
    host = bare_host(match[1])
    server = scope.get("server")
    is_here = server is not None and host == bare_host(str(server[0])) and _address(host) is not None
    if is_here or _is_loopback(host) or host in _ours(settings.hosts, settings.host, settings.public_url):
        return None
    return f"Corral does not answer to the name “{host}” here. Its operator can change that: {REMEDY}"


@lru_cache(maxsize=8)
def _ours(hosts: str, host: str, public_url: str) -> frozenset[str]:
    given = (*hosts.split(","), host, public_url)
    return frozenset(host_of(each.strip()) for each in given if each.strip())


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


@lru_cache(maxsize=256)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
