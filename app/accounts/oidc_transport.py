"""How the identity provider is asked: at the hosts that are set, within ten seconds in all, for answers of at most 512 KiB."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import httpx2

from app.kernel.addresses import bare_host, host_of
from app.kernel.providing import IdentityProvider

SECONDS = 10.0
MOST_BYTES = 512 * 1024


class Refused(Exception):
    """A request to where nobody is to be asked."""


class _Bounded(httpx2.BaseTransport):
    def __init__(self, provider: IdentityProvider) -> None:
        issuer = urlsplit(provider.issuer)
        self._scheme = issuer.scheme
        self._hosts = {bare_host(issuer.hostname or ""), *(host_of(each) for each in provider.hosts)}
        self._ends = time.monotonic() + SECONDS
        # no proxy of the environment; its authorities (SSL_CERT_FILE) are believed, for a provider of one's own network
        self._inner = httpx2.HTTPTransport(verify=httpx2.create_ssl_context(), retries=0, trust_env=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Ask, where it may be asked, and read the whole answer."""
        if request.url.scheme != self._scheme or bare_host(request.url.host) not in self._hosts:
            raise Refused(f"a request to {request.url.host}")
        left = self._left(request)
        request.extensions = {
            **request.extensions,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), left),
        }
        request.headers["accept-encoding"] = "identity"  # what is packed could be of any size
        answer = self._inner.handle_request(request)
        content = bytearray()
        try:
            for part in answer.stream:  # type: ignore[union-attr]
                content += part
                if len(content) > MOST_BYTES:
                    raise httpx2.ReadError("the answer is too large", request=request)
                self._left(request)
        finally:
            answer.close()
        if "content-encoding" in answer.headers:
            raise httpx2.ReadError("the answer is packed", request=request)
        return httpx2.Response(answer.status_code, headers=answer.headers, content=bytes(content), request=request)

    def _left(self, request: httpx2.Request) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise httpx2.ReadTimeout("the provider takes too long", request=request)
        return left

    def close(self) -> None:
        self._inner.close()


def transport(provider: IdentityProvider) -> httpx2.BaseTransport:
    """A transport for one exchange, whose time begins now."""
    return _Bounded(provider)
