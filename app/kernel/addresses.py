"""Client addresses, normalised for rate limits and for each client's share of the server.

And the names of hosts, as they are compared.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit


def network(address: str) -> str:
    """The part of a client's address that counts: an IPv6 customer has 2**64 of them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


@lru_cache(maxsize=256)
def bare_host(name: str) -> str:
    """One form of a host's name or address: lower case, no brackets, zone or dot at the end, ``::ffff:10.0.0.1`` as IPv4."""
    bare = name.strip("[]").lower().removesuffix(".")
    try:
        parsed = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return bare
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def host_of(written: str) -> str:
    """The host in what somebody wrote: a name, an address, with a port, or a whole URL.

    Raises:
        ValueError: there is none, or a pattern of many.
    """
    try:
        return bare_host(str(ipaddress.ip_address(written)))
    except ValueError:
        host = urlsplit(written if "://" in written else f"//{written}").hostname or ""
    if not host or set(host) & set("*?/@ ") or host.startswith("."):
        raise ValueError(f"“{written}” names no host: write it as corral.example or 192.0.2.7")
    return bare_host(host if host.isascii() else host.encode("idna").decode())
