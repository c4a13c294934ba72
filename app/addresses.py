"""Addresses of clients, as they count: for how often somebody tries, and for how much of the server one may take."""

from __future__ import annotations

import ipaddress


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
