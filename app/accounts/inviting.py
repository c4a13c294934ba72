"""Inviting many at once: who is meant by a pasted list, their invites, and the ledger of the mails that carry the links.

A mail is sent by a worker, which draws the link's secret itself: it stands in the mail alone, neither in a message to the
worker nor in the database. A mail that is tried again carries a new link, and the earlier one ends.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.accounts import queries, service
from app.accounts.models import Invite, Role, User
from app.kernel.errors import BadInput, Conflict, refused
from app.kernel.jobs import Job, enqueue
from app.kernel.locales import N_, ngettext
from app.kernel.locales import gettext as _
from app.kernel.locks import wait_for_turn
from app.kernel.settings import get_settings

AT_ONCE = 500
"""People of one act."""
LEASE = 120
"""Seconds after which the mails of a worker that died are another's."""
PAUSES = (60, 300, 1800, 7200)
"""Seconds between one try and the next; after the last one an admin decides."""
_ADDRESS_COLUMNS = ("email", "e-mail", "mail", "address")


@dataclass(frozen=True)
class Guest:
    """Somebody to invite."""

    email: str
    role: Role


@dataclass(frozen=True)
class Invited:
    """An invite of this act; ``secret`` is None where a mail will carry the link."""

    id: int
    email: str
    role: Role
    secret: str | None


@dataclass(frozen=True)
class Outcome:
    """What an act came to. ``present`` have an account already, and are left as they are."""

    invited: list[Invited]
    present: list[str]


@dataclass(frozen=True)
class Mail:
    """A mail that this worker sends now."""

    invite_id: int
    attempt: int
    email: str
    role: Role
    inviter: str | None
    link: str


# ── Who is meant ─────────────────────────────────────────────────────────────────────────────────────────────────────
def guests(pasted: str, role: Role) -> list[Guest]:
    """Who is meant by ``pasted``: addresses between commas, semicolons or lines, or a table whose first line names its columns.

    ``Alice <alice@example.org>`` counts as her address. A table has a column ``email``, perhaps one ``role``, and others that
    are not read; where it says no role, ``role`` holds. Whoever stands there twice is meant once.

    Raises:
        BadInput: with each line that cannot be read, by its number; or there are too many.
    """
    return _checked(
        N_("line {number}: {problem}"),
        ((number, address, said or role) for number, address, said in addresses_in(pasted)),
    )


def checked(people: Sequence[tuple[str, Role]]) -> list[Guest]:
    """The same of a list that is read already."""
    return _checked(
        N_("entry {number}: {problem}"), ((number, email, role) for number, (email, role) in enumerate(people, 1))
    )


def _checked(form: str, said: Iterable[tuple[int, str, str]]) -> list[Guest]:
    found: dict[str, Guest] = {}
    wrong: list[tuple[int, str]] = []
    for number, address, role in said:
        try:
            email = service.clean_email(address)
            guest = Guest(email, Role(role.strip().lower()))
            if found.setdefault(email, guest) != guest:
                wrong.append((number, _("{email} stands there with two roles", email=email)))
        except BadInput:
            wrong.append((number, _("“{address}” is not an e-mail address", address=address[:60])))
        except ValueError:
            problem = _("“{role}” is not a role; roles are {roles}", role=role[:30], roles=", ".join(Role))
            wrong.append((number, problem))
    if wrong:
        listed = first_of([_(form, number=number, problem=problem) for number, problem in wrong])
        raise refused("addresses", _("Nobody was invited. Correct this first: {problems}.", problems=listed))
    if len(found) > AT_ONCE:
        many = _("These are {n} people. Invite at most {most} at once.", n=len(found), most=AT_ONCE)
        raise refused("addresses", many)
    return list(found.values())


def first_of(problems: Sequence[str]) -> str:
    """Five of them, and how many more there are."""
    listed, more = "; ".join(problems[:5]), len(problems) - 5
    if more <= 0:
        return listed
    return ngettext("{listed} … and {n} more", "{listed} … and {n} more", more, listed=listed)


def addresses_in(pasted: str) -> Iterator[tuple[int, str, str]]:
    """Line, address and role as they were written."""
    lines = pasted.removeprefix("\ufeff").splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return
    between = max("\t;,", key=lines[first].count)
    names = [name.strip().strip('"').lower() for name in lines[first].split(between)]
    column = next((names.index(name) for name in _ADDRESS_COLUMNS if name in names), None)
    if column is None:
        yield from _listed(lines)
        return
    role = names.index("role") if "role" in names else None
    table = csv.reader(io.StringIO("\n".join(lines[first + 1 :])), delimiter=between)
    for row in table:
        if any(cell.strip() for cell in row):
            yield first + 1 + table.line_num, _cell(row, column), _cell(row, role)


def _cell(row: Sequence[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _listed(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(lines, 1):
        whole = re.sub(r'"[^"]*"', "", line)  # a name, which may have a comma
        for part in re.split(r"[;\t]", whole) if re.search(r"[;\t]", whole) else whole.split(","):
            named = re.search(r"<([^<>]*)>?", part)
            for address in [named[1]] if named else part.split(","):
                if address.strip() or named:
                    yield number, address.strip(), ""


# ── Inviting ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def mails() -> bool:
    """Whether this installation can send mails."""
    return bool(get_settings().smtp_url.get_secret_value())


def invite_all(session: Session, actor: User, people: Sequence[Guest], *, mail: bool) -> Outcome:
    """Invite all of them, or nobody; an open invite of the same address ends.

    Args:
        session: The request's transaction.
        actor: The admin.
        people: Their addresses are clean and differ (:func:`guests`).
        mail: Whether workers mail the links; else they are in the answer, this once.

    Raises:
        BadInput: there is nobody to invite, or no mail can be sent.
    """
    if not people:
        raise refused("addresses", _("Write at least one e-mail address."))
    if mail and not mails():
        raise refused("mail", _("This installation sends no mail: an operator sets CORRAL_SMTP_URL."))
    wait_for_turn(session, "invites.bulk")  # two admins who paste one list: the second ends what the first has made
    wanted = {each.email for each in people}
    present = set(session.scalars(select(User.email).where(User.email.in_(wanted))))
    for earlier in queries.open_invites(session):
        if earlier.email in wanted - present:
            service.withdraw_invite(session, actor, earlier.id)
    made: list[Invited] = []
    for each in people:
        if each.email not in present:
            invite, secret = service.make_invite(session, role=each.role, created_by=actor, email=each.email)
            if mail:
                invite.mail_due_at = func.now()
            made.append(Invited(invite.id, each.email, each.role, None if mail else secret))
    session.flush()
    if mail and made:
        enqueue(session, Job.MAIL)
    return Outcome(made, sorted(present))


def mail_again(session: Session, actor: User, invite_id: int) -> Invite:
    """Mail a new link for an open invite; the earlier link ends.

    Raises:
        NotFound: there is no such invite.
        Conflict: it names no address, or no mail can be sent.
    """
    invite = queries.access_invite(session, actor, invite_id)
    if not mails() or invite.email is None:
        raise Conflict(_("No mail can be sent for this invite. Make a new one, and send its link yourself."))
    invite.mail_due_at, invite.mail_tries, invite.mail_error = func.now(), 0, None
    invite.expires_at = func.now() + service.INVITE_LIVES
    session.flush()
    service.audit(session, actor, "invite.mailed", "invite", invite.id)
    enqueue(session, Job.MAIL)
    return invite


# ── The ledger of mails ──────────────────────────────────────────────────────────────────────────────────────────────
_CLAIM = text("""
    WITH due AS MATERIALIZED (
        SELECT id FROM invites WHERE mail_due_at <= now() ORDER BY mail_due_at, id LIMIT :most FOR UPDATE SKIP LOCKED)
    UPDATE invites SET mail_tries = mail_tries + 1, mail_due_at = now() + make_interval(secs => :lease)
     WHERE id IN (SELECT id FROM due)
 RETURNING id
""")


def claim(session: Session, most: int) -> list[Mail]:
    """Take mails that are due, each with a lease and a fresh link. An invite that no longer works needs none."""
    ids = set(session.scalars(_CLAIM, {"lease": LEASE, "most": most}))
    taken: list[Mail] = []
    for invite, works in queries.invites_of(session, ids):
        if not works or invite.email is None:
            invite.mail_due_at = None
            continue
        secret = secrets.token_urlsafe(32)
        invite.token_hash = queries.digest(secret)
        inviter = session.get(User, invite.created_by_id) if invite.created_by_id else None
        link = f"{get_settings().public_url.rstrip('/')}/invite/{secret}"
        name = inviter.name if inviter else None
        taken.append(Mail(invite.id, invite.mail_tries, invite.email, invite.role, name, link))
    session.flush()
    return taken


def record(session: Session, mail: Mail, error: str | None) -> None:
    """What became of a try; ``error`` says in a sentence why it was not taken."""
    invite = session.get(Invite, mail.invite_id, with_for_update=True, populate_existing=True)
    if invite is None or invite.mail_due_at is None or invite.mail_tries != mail.attempt:
        return
    invite.mail_error = error[:300] if error else None
    if error is None:
        invite.mailed_at, invite.mail_due_at = func.now(), None
    elif mail.attempt > len(PAUSES):
        invite.mail_due_at = None
    else:
        invite.mail_due_at = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, PAUSES[mail.attempt - 1])
    session.flush()


def ring_if_due(session: Session) -> None:
    """Ring where a mail is due: a message was lost, or a worker."""
    if session.scalar(text("SELECT EXISTS (SELECT FROM invites WHERE mail_due_at <= now())")):
        enqueue(session, Job.MAIL)
