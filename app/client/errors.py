"""What can go wrong between a program and Corral, as one tree.

::

    CorralError
    ├── NoAnswer         nobody answered, or not Corral: the address, the network, a proxy
    └── Refused          Corral answered, and says why
        ├── SignedOut    401: no token, or one that is revoked or has expired
        ├── Forbidden    403: the role or the token's scopes do not allow it
        ├── NotFound     404
        ├── Conflict     409: the state no longer allows it
        ├── TooLarge     413
        ├── BadInput     422: ``errors`` names each field or line
        ├── TooMany      429: after all tries; ``retry_after`` says when
        └── Unavailable  503: after all tries
"""

from __future__ import annotations

from typing import Any


class CorralError(Exception):
    """Base of all."""


class NoAnswer(CorralError):
    """Nobody answered, or what answered was not Corral."""


class Refused(CorralError):
    """What Corral answered instead of doing it. ``errors`` has one entry a field or line where there are any."""

    def __init__(self, status: int, detail: str, errors: list[dict[str, Any]], retry_after: float | None) -> None:
        self.status, self.detail, self.errors, self.retry_after = status, detail, errors, retry_after
        super().__init__("\n".join([detail, *map(_line, errors[:20])]))


class SignedOut(Refused):
    """No token, or one that no longer counts."""


class Forbidden(Refused):
    """The role or the token's scopes do not allow it."""


class NotFound(Refused):
    """It does not exist, or you may not see it."""


class Conflict(Refused):
    """The state no longer allows it."""


class TooLarge(Refused):
    """The body is larger than accepted."""


class BadInput(Refused):
    """The input is invalid."""


class TooMany(Refused):
    """Too many requests, or a quota is used up."""


class Unavailable(Refused):
    """The database or the engine is away, or the disk is full."""


KINDS: dict[int, type[Refused]] = {
    401: SignedOut,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: BadInput,
    429: TooMany,
    503: Unavailable,
}


def _line(error: dict[str, Any]) -> str:
    place = f"line {error['line']}" if "line" in error else str(error.get("loc", ""))
    said = error.get("reason") or error.get("msg") or ""
    return f"  {place}: {said}" if place else f"  {said}"
