"""Slows the guessing of passwords without ever locking an owner out.

Failures are counted by source and account, by source, and by account. After a few free tries, each further one has to
wait twice as long as the one before, up to a ceiling. What keeps the owner in:

- A browser that has signed in to the account before carries a device cookie (OWASP, "Slow down online guessing attacks
  with device cookies"). It counts as a source of its own, and the account-wide count does not apply to it: whatever
  others try from wherever, they cannot use up its tries.
- A try that comes too early is refused without being counted, so waiting always helps.
- A success forgets the failures of its source.

A source without a known device is an address; an IPv6 network of 64 bits counts as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from app.accounts.models import LoginAttempt, LoginSession, User
from app.accounts.queries import digest
from app.kernel.addresses import network
from app.kernel.errors import TooMany
from app.kernel.locales import ngettext

WINDOW = timedelta(minutes=15)
KNOWN = "device:"
"""How the source of a browser begins that has signed in to the account before."""


@dataclass(frozen=True)
class Limit:
    """``free`` tries within the window, then a wait that doubles from one second up to ``ceiling`` seconds."""

    free: int
    ceiling: int

    def wait(self, failures: int) -> int:
        """Seconds between the last failure and the next try."""
        return 0 if failures < self.free else min(self.ceiling, 1 << min(failures - self.free, 20))


BY_PAIR = Limit(free=5, ceiling=300)
BY_SOURCE = Limit(free=30, ceiling=300)
BY_ACCOUNT = Limit(free=100, ceiling=60)


def check(
    session: Session,
    email: str,
    address: str,
    user: User | None,
    device: str | None,
    *,
    by_account: Limit = BY_ACCOUNT,
) -> str:
    """The source that this try counts for; :class:`TooMany` when it is too early for another one.

    ``email`` may be any other name of what is tried: what fails under one name does not count under another.
    """
    known_device = user is not None and device is not None and _has_signed_in(session, user, device)
    source = f"{KNOWN}{digest(device or '').hex()[:40]}" if known_device else network(address)
    counted = [BY_PAIR, BY_SOURCE] if known_device else [BY_PAIR, BY_SOURCE, by_account]
    wait = max(map(_remaining, counted, _failures(session, email, source)))
    if wait > 0:
        raise TooMany(_too_early(wait), retry_after=wait)
    return source


def note_failure(session: Session, email: str, source: str) -> None:
    """Count a failed try."""
    session.add(LoginAttempt(address=source, email_hash=digest(email)))


def forget(session: Session, email: str, source: str) -> None:
    """A success: what failed before, from here and for this account, was a slip of the owner's."""
    mine = (LoginAttempt.address == source) & (LoginAttempt.email_hash == digest(email))
    session.execute(delete(LoginAttempt).where(mine))


def _has_signed_in(session: Session, user: User, device: str) -> bool:
    known = (LoginSession.user_id == user.id) & (LoginSession.device_hash == digest(device))
    return session.scalar(select(LoginSession.id).where(known).limit(1)) is not None


def _failures(session: Session, email: str, source: str) -> list[tuple[int, float]]:
    """How many failures there were of the pair, the source and the account, and how many seconds ago the last one was."""
    from_here, to_account = LoginAttempt.address == source, LoginAttempt.email_hash == digest(email)
    columns: list[ColumnElement[Any]] = []
    for which in (from_here & to_account, from_here, to_account):
        last = func.max(LoginAttempt.at).filter(which)
        columns += [func.count().filter(which), func.coalesce(func.extract("epoch", func.now() - last), 0)]
    recent = LoginAttempt.at > func.now() - WINDOW
    row = session.execute(select(*columns).where(recent, from_here | to_account)).one()
    return [(row[0], float(row[1])), (row[2], float(row[3])), (row[4], float(row[5]))]


def _remaining(limit: Limit, failures: tuple[int, float]) -> int:
    """Whole seconds until the next try, by the database's clock."""
    count, age = failures
    return max(0, math.ceil(limit.wait(count) - age))


def _too_early(seconds: int) -> str:
    if seconds < 90:
        return ngettext(
            "Too many attempts. Wait {n} second, then try again.",
            "Too many attempts. Wait {n} seconds, then try again.",
            seconds,
        )
    return ngettext(
        "Too many attempts. Wait {n} minute, then try again.",
        "Too many attempts. Wait {n} minutes, then try again.",
        -(-seconds // 60),
    )
