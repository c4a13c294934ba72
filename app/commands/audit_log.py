"""``corral audit-log``: who did what, when and from where."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

import typer

from app.commands.common import person, table, transaction
from app.kernel.errors import BadInput
from app.kernel.storable import flaw

KindName = Literal["sign-in", "refusal", "download", "token", "people", "work", "log"]
_AGO = re.compile(r"([0-9]{1,5})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def audit_log(
    since: Annotated[str | None, typer.Option(help="A day or a time (UTC), or how long ago: 7d, 24h, 30m.")] = None,
    until: Annotated[str | None, typer.Option(help="Same formats; exclusive.")] = None,
    kind: Annotated[KindName | None, typer.Option(help="Only events of this kind.")] = None,
    who: Annotated[
        str | None, typer.Option("--person", help="E-mail address of the person who did it or whom it is about.")
    ] = None,
    address: Annotated[str, typer.Option(help="Only from this address.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of events; 100 without --json.")] = None,
    json: Annotated[bool, typer.Option("--json", help="All events as JSON Lines; this is itself logged.")] = False,  # noqa: FBT002
) -> None:
    """Show the audit log, newest first."""
    wrong = flaw(address)
    if wrong:
        raise BadInput(f"No address has {wrong}.")
    with transaction() as session:
        from app.accounts.audit_log import Kind, Passed, Wanted, lines, page
        from app.accounts.disclosure import disclosed

        wanted = Wanted(
            kind=Kind(kind) if kind else None,
            person_id=person(session, who).id if who else None,
            address=address,
            since=moment("--since", since) if since else None,
            until=moment("--until", until) if until else None,
        )
        if json:
            passed = Passed()
            make = partial(lines, session, wanted, passed, limit=limit)
            chunks = disclosed(session, None, "audit_log", make, lambda: passed.rows, filter=wanted.said())
            sys.stdout.buffer.writelines(chunks)
            return
        rows = [
            (
                f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                event.actor.email if event.actor else "-",
                event.what,
                event.subject.name or f"{event.subject.type} {event.subject.id or ''}".strip(),
                event.address or "-",
                f"token {event.token_id}"
                if event.token_id
                else f"session {event.session_id}"
                if event.session_id
                else "-",
            )
            for event in page(session, wanted, limit=limit or 100).rows
        ]
    table(("at (UTC)", "who", "what", "about", "address", "by"), rows)


def moment(option: str, text: str) -> datetime:
    """A day, a moment (UTC where it names no zone), or how long ago.

    Raises:
        BadInput: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} cannot be read: write a day (2026-11-24), a moment, or 7d, 24h, 30m.") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
