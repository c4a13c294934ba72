"""Data that is handed out, between two events of the audit log.

The first is committed before the first byte leaves: a server that dies in the middle has still said who asked for what.
The second says how many rows there were, and whether it came to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from sqlalchemy.orm import Session

from app.accounts import service
from app.accounts.models import User


def disclosed(
    session: Session,
    actor: User | None,
    what: str,
    make: Callable[[], Iterator[bytes]],
    rows: Callable[[], int],
    **details: Any,
) -> Generator[bytes]:
    """Yield what ``make`` makes. The session is committed before and after: it must have nothing under way.

    Args:
        session: The transaction of the download or the command, and of no page.
        actor: Who asked; None for the command line.
        what: What is handed out: the events are ``what``.export and ``what``.exported.
        make: Starts making the bytes, in ``session``.
        rows: How many rows were made so far.
        details: What was asked for: filter, shape, format.
    """
    service.audit(session, actor, f"{what}.export", what, None, **details)
    session.commit()
    complete = False
    try:
        yield from make()
        complete = True
    finally:  # a reader who leaves closes this, too
        session.rollback()
        service.audit(session, actor, f"{what}.exported", what, None, **details, rows=rows(), complete=complete)
        session.commit()
