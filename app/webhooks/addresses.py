"""Where a webhook may lead: the internet by https, and what the operator names (``CORRAL_WEBHOOK_HOSTS``).

An address that an admin types must not become a door into the network behind the server. A name says nothing about where it
leads, and may say something else a second later: so what counts is the address that is connected to, at every try.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from app.kernel.errors import BadInput, refused
from app.kernel.locales import gettext as _

LONGEST = 500
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_NAT64 = IPv6Network("64:ff9b::/96")


def checked(url: str, inside: Collection[str]) -> str:
    """``url`` as it is stored; ``inside`` are the hosts that may be reached wherever they are.

    Raises:
        BadInput: nothing is sent there, with the reason.
    """
    said = url.strip()
    try:
        found = httpx.URL(said)
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise _no(_("This is not an address; it looks like https://example.org/corral.")) from None
    if len(said) > LONGEST:
        raise _no(_("An address has {n} characters at most.", n=LONGEST))
    good = found.scheme in {"https", "http"} and _HOST.fullmatch(found.raw_host.decode("ascii"))
    if not good or not said.isprintable() or not 0 < (found.port or 443) < 65536:
        raise _no(_("This is not an address; it looks like https://example.org/corral."))
    if found.userinfo:
        raise _no(_("An address has no name and password in it. Check the signature instead."))
    if found.scheme == "http" and found.host not in inside:
        raise _no(
            _(
                "Use https: what is sent by http can be read on the way. An operator may allow a host of the "
                "own network in CORRAL_WEBHOOK_HOSTS."
            )
        )
    return str(found.copy_with(fragment=None))


def may_connect(address: str) -> bool:
    """Whether an IP address is one of the internet's, whatever it is wrapped in."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in _unwrapped(found))


def _unwrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """The address with those that are written inside it: a gateway hands what comes for it on to them."""
    if isinstance(address, IPv4Address):
        return [address]
    inner: list[IPv4Address | IPv6Address] = [
        each for each in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())) if each is not None
    ]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return inner if address.ipv4_mapped else [address, *inner]


def _no(sentence: str) -> BadInput:
    return refused("url", sentence)
