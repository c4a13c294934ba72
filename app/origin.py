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
    """What a refused request was about, as far as whoever refused it knew."""

    action: str
    subject_type: str
    subject_id: int | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Origin:
    """Where one piece of work comes from. The ids are of rows: they open nothing."""

    address: str | None = None
    request_id: str | None = None
    session_id: int | None = None
    token_id: int | None = None
    reason: str | None = None
    """The sentence with which the request was refused, if it was."""
    refusal: Refusal | None = None


_NOWHERE = Origin()
_current: ContextVar[Origin] = ContextVar("corral_origin", default=_NOWHERE)


def current() -> Origin:
    """The origin of the work at hand. Outside of requests and commands it is empty, and a fresh one each time."""
    found = _current.get()
    return Origin() if found is _NOWHERE else found


def of_request(scope: Scope, request_id: str) -> Origin:
    """Let the work at hand be that of a request, whose address is the one that the server sees."""
    client = scope.get("client")
    origin = Origin(address=str(client[0])[:64] if client else "unknown", request_id=request_id)
    _current.set(origin)
    return origin


@contextmanager
def of_command() -> Iterator[None]:
    """Let the work within be that of somebody at the command line."""
    before = _current.set(Origin(address=COMMAND_LINE))
    try:
        yield
    finally:
        _current.reset(before)
