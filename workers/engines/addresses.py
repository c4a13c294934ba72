"""Which engines there are, and to whom a request goes.

Engines of one installation serve the same base model, and load adapters by themselves, so any of them can answer. They are
told apart only to probe each. Where a load balancer stands before them (``CORRAL_ENGINE_URL`` beside ``CORRAL_ENGINE_URLS``)
it spreads requests; else the client does, over ``CORRAL_ENGINE_URLS`` or over all addresses that the host's name has, as
``docker compose up --scale engine=2`` gives it. The system's own order of addresses would send a worker's requests to one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import httpx

from app.kernel.settings import EngineKind, Settings

LOOK_SECONDS = 10.0
"""After which a name is looked up again: engines come and go."""
SHUNNED_SECONDS = 10.0
"""For which an engine that did not answer, or did not serve a name, is asked after all others."""

FRESH = {"fresh": True}
"""Of a request, as httpx's extensions."""

Find = Callable[[], Awaitable[list[str]]]


async def engines(settings: Settings) -> list[str]:
    """The address of every engine, for probes."""
    listed = settings.engine_url_list if settings.engine_kind is EngineKind.VLLM else []
    found = [each for url in listed or [settings.engine_url] for each in await _behind(url, settings.engine_kind)]
    return list(dict.fromkeys(found))


async def routes(settings: Settings) -> list[str]:
    """The addresses over which requests are spread."""
    if settings.is_balanced:
        return await _behind(settings.engine_url, settings.engine_kind)
    return await engines(settings)


async def _behind(url: str, kind: EngineKind) -> list[str]:
    """``url`` with each address of its host instead of the name, of one family: a host may have one of both.

    Only of our own engines, and only without TLS: other houses have balancers, and certificates are for names.
    """
    parsed = httpx.URL(url)
    if kind is not EngineKind.VLLM or parsed.scheme != "http" or _is_address(parsed.host):
        return [url]
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(parsed.host, parsed.port, type=socket.SOCK_STREAM)
    except OSError:
        return [url]  # whoever connects says that there is no such host
    family = min(each[0] for each in found)  # IPv4 first
    hosts = sorted({str(each[4][0]) for each in found if each[0] == family})
    return [str(parsed.copy_with(host=host)) for host in hosts] if len(hosts) > 1 else [url]


def place_of(url: str) -> str:
    """Host and port of an address, which is what tells one engine from another."""
    return httpx.URL(url).netloc.decode()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Spread(httpx.AsyncBaseTransport):
    """Sends each request to one of several addresses: the one with the fewest in flight, in turn where they are alike.

    One that does not accept connections is passed over, and one that fails is asked after the others for a while, so a
    request that is sent again goes elsewhere. One that is sent :data:`FRESH` gets a connection of its own, which a load
    balancer may lead to another engine than the last one.
    """

    def __init__(self, url: str, find: Find, connections: int) -> None:
        self._base, self._find = httpx.URL(url), find
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._kept = httpx.AsyncHTTPTransport(limits=limits)
        self._fresh = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
        self._found: list[str] = []
        self._looked = -LOOK_SECONDS
        self._open: Counter[str] = Counter()
        self._clock = itertools.count(1)
        self._asked: dict[str, int] = {}
        self._failed: dict[str, float] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See the class. Raises what the last address did where none can be reached."""
        addresses = self._in_order(await self._addresses())
        for address in addresses[:-1]:
            try:
                return await self._send(request, address)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._send(request, addresses[-1])

    async def _addresses(self) -> list[str]:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self._found = await self._find()
        return self._found or [str(self._base)]

    def _in_order(self, addresses: Sequence[str]) -> list[str]:
        now = time.monotonic()

        def rank(address: str) -> tuple[bool, int, int]:
            shunned = now - self._failed.get(address, -SHUNNED_SECONDS) < SHUNNED_SECONDS
            return shunned, self._open[address], self._asked.get(address, 0)

        return sorted(addresses, key=rank)

    async def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        self._open[address] += 1
        self._asked[address] = next(self._clock)
        through = self._fresh if request.extensions.get("fresh") else self._kept
        try:
            response = await through.handle_async_request(self._directed(request, address))
        except httpx.TransportError:
            self._failed[address] = time.monotonic()
            raise
        finally:
            self._open[address] -= 1
        if response.status_code in {404, 502, 503, 504}:
            self._failed[address] = time.monotonic()
        return response

    def _directed(self, request: httpx.Request, address: str) -> httpx.Request:
        """The request as it goes to ``address``."""
        to = httpx.URL(address)
        if to == self._base:
            return request
        path = _above(to) + request.url.path.removeprefix(_above(self._base))
        url = request.url.copy_with(scheme=to.scheme, host=to.host, port=to.port, path=path)
        headers = httpx.Headers(request.headers)
        if _is_address(self._base.host) or not _is_address(to.host):
            headers["host"] = to.netloc.decode()  # else it is an address of the very host that was named
        return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._kept.aclose()
        await self._fresh.aclose()


def _above(url: httpx.URL) -> str:
    """The path above ``/v1``, where an engine has its version."""
    return url.path.rstrip("/").rpartition("/")[0]
