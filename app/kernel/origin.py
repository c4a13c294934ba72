"""Where the work at hand comes from: the address, the session or token, and the request, for whoever writes the audit log.

The request log sets it before anything else looks at a request, and who signs in is added by ``app.accounts.access``. It
travels in a context variable, which threads and tasks of the request inherit, so that no service takes it as an argument.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

COMMAND_LINE = "command line"
"""What stands for the address of a ``corral`` command. A worker has none."""


@dataclass
class Refusal:
    """What a refused request was about, as far as the code that refused it knew."""

    action: str
    subject_type: str
    subject_id: int | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Origin:
    """Where one piece of work comes from. The ids are of rows: they open nothing."""

    place: str | None = None
    """What stands for an address where there is no request."""
    scope: Scope | None = None
    request_id: str | None = None
    session_id: int | None = None
    token_id: int | None = None
    reason: str | None = None
    """The sentence with which the request was refused, if it was."""
    refusal: Refusal | None = None
    language: str | None = None
    """In which the answer is written, once somebody asked (:mod:`app.kernel.locales`)."""

    @property
    def address(self) -> str | None:
        """As the server sees it at this moment; None for a worker."""
        return self.place if self.scope is None else address_of(self.scope)


_NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("corral_origin", default=_NOWHERE)


def current() -> Origin:
    """The origin of the work at hand. Outside of requests and commands it is empty, and a fresh one each time."""
    found = _current.get()
    return Origin() if found is _NOWHERE else found


def address_of(scope: Scope) -> str:
    """Where a request comes from; behind a proxy, ``CORRAL_PROXIES`` decides who may say so."""
    client = scope.get("client")
    return str(client[0])[:64] if client and client[0] else "unknown"


def of_request(scope: Scope, request_id: str) -> None:
    """Let the work at hand be that of a request."""
    _current.set(Origin(scope=scope, request_id=request_id))


@contextmanager
def of_command() -> Iterator[None]:
    """Attribute the work inside the block to the command line."""
    before = _current.set(Origin(place=COMMAND_LINE))
    try:
        yield
    finally:
        _current.reset(before)
