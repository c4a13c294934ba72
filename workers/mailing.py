"""Mails by SMTP, all of one connection: to the operator's own server, and to nobody else."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from app.accounts.inviting import Mail
from app.accounts.service import INVITE_DAYS

SECONDS = 15.0
"""For each step: the connection, a command, a mail."""


def send(due: Sequence[Mail], url: str, sender: str) -> Iterator[tuple[Mail, str | None]]:
    """Send each, and say why one was not taken: None where it was.

    A server that cannot be reached is asked once, and not once a mail.
    """
    try:
        server = _connect(url)
    except (OSError, smtplib.SMTPException) as error:
        yield from ((each, f"The mail server cannot be used: {_words(error)}.") for each in due)
        return
    lost: str | None = None
    for each in due:
        if lost is None:
            try:
                server.send_message(message(each, sender), sender, [each.email])
            except smtplib.SMTPServerDisconnected as error:
                lost = f"The mail server broke off: {_words(error)}."
            except (OSError, smtplib.SMTPException) as error:
                yield each, f"The mail server did not take it: {_words(error)}."
                continue
        yield each, lost
    with suppress(OSError, smtplib.SMTPException):
        server.quit()


def message(mail: Mail, sender: str) -> EmailMessage:
    """What is sent: plain text, so that it reads the same everywhere."""
    written = EmailMessage()
    written["Subject"] = "Your invitation to Corral"
    written["From"], written["To"] = sender, Address(addr_spec=mail.email)
    written["Date"] = formatdate()
    written["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    written["Auto-Submitted"] = "auto-generated"
    who = f"{mail.inviter} invites you" if mail.inviter else "You are invited"
    written.set_content(
        f"{who} to Corral as {mail.role.value}.\n\n"
        f"This link makes your account. It works once, within {INVITE_DAYS} days, for {mail.email}:\n\n"
        f"{mail.link}\n\n"
        "Whoever has the link can use it: do not forward this mail.\n"
        "If you do not expect it, do nothing; no account is made.\n"
    )
    return written


def _connect(url: str) -> smtplib.SMTP:
    parts = urlsplit(url)
    host = parts.hostname or ""
    safe = ssl.create_default_context()
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=safe)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=SECONDS)
    try:
        if parts.scheme == "smtp":
            server.starttls(context=safe)  # a server that offers none is not used: the link is a secret
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _words(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {said.decode(errors='replace')}" for code, said in error.recipients.values())
    return str(error) or type(error).__name__
