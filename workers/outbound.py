"""Requests to addresses that somebody typed: to the internet alone, never on to where an answer points, and soon over.

The name is resolved here, every address it leads to is looked at, and the connection goes to one that was: a name that leads
elsewhere a second later (rebinding) leads nowhere. TLS still checks the certificate against the name.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping

import httpx

from app.webhooks.addresses import may_connect

SECONDS = 10.0
"""For everything: the name, the connection, and the answer's first line and headers. The body is not read."""


class NotTaken(Exception):
    """It was not delivered; the message says why, in a sentence."""


async def post(url: str, body: bytes, headers: Mapping[str, str], inside: Collection[str]) -> None:
    """POST ``body`` to ``url``; it is taken where the answer is a 2xx. ``inside``: hosts that may be anywhere.

    Raises:
        NotTaken: it was not, or nothing is sent there.
    """
    try:
        async with asyncio.timeout(SECONDS):
            await _post(httpx.URL(url), body, headers, inside)
    except TimeoutError:
        raise NotTaken(f"It did not answer within {SECONDS:.0f} seconds.") from None
    except httpx.TransportError as error:
        raise NotTaken(f"The connection failed: {str(error) or type(error).__name__}.") from None


async def _post(url: httpx.URL, body: bytes, headers: Mapping[str, str], inside: Collection[str]) -> None:
    address = await _address(url, anywhere=url.host in inside)
    asked = httpx.Request(
        "POST",
        url.copy_with(host=address),
        headers={
            **headers,
            "host": url.netloc.decode("ascii"),
            "content-type": "application/json",
            "user-agent": "Corral",
            "accept-encoding": "identity",
        },
        content=body,
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )
    # no proxy of the environment: it would resolve the name once more, and reach what we may not; its authorities
    # (SSL_CERT_FILE) are believed, for hosts of one's own network
    trusted = httpx.create_ssl_context()
    async with httpx.AsyncClient(verify=trusted, timeout=SECONDS, trust_env=False, follow_redirects=False) as client:
        answer = await client.send(asked, stream=True)
        await answer.aclose()
    if answer.is_redirect:
        raise NotTaken(f"It answers {answer.status_code}, a redirect, which is not followed: give the final address.")
    if not answer.is_success:
        raise NotTaken(f"It answers {answer.status_code}.")


async def _address(url: httpx.URL, *, anywhere: bool) -> str:
    """One address that the name leads to."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotTaken(f"The name {url.host} leads nowhere.") from None
    addresses = [str(each[4][0]) for each in found]
    if not addresses:
        raise NotTaken(f"The name {url.host} leads nowhere.")
    if not anywhere and not all(map(may_connect, addresses)):
        raise NotTaken(
            f"The name {url.host} leads to an address that is not the internet's. An operator may allow the host in "
            "CORRAL_WEBHOOK_HOSTS."
        )
    return addresses[0]
