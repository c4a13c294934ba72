"""What the subcommands share: a transaction on the installation's database, tables, and passwords that nobody sees."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.kernel.errors import BadInput, NotFound
from app.kernel.origin import of_command
from app.kernel.storable import flaw, quotable
from app.services.instance import Instance, database

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.accounts.models import User


@contextmanager
def transaction() -> Iterator[Session]:
    """One transaction on the installation's database, which is started for it where it does not run."""
    with database(), of_command():
        import app.site.tables  # noqa: F401 - foreign keys between domains resolve
        from app.kernel.db import get_engine, session_scope

        try:
            with session_scope() as session:
                yield session
        finally:
            get_engine().dispose()


def person(session: Session, email: str) -> User:
    """The account with this address.

    Raises:
        NotFound: there is none.
    """
    from sqlalchemy import select

    from app.accounts.models import User

    known = flaw(email) is None  # what cannot be stored is nobody's address
    found = session.scalar(select(User).where(User.email == email.strip().lower())) if known else None
    if found is None:
        raise NotFound(f"There is no account with the address {quotable(email, 254)}: `corral user list` shows all.")
    return found


def batch_id(session: Session, name: str) -> int:
    """The batch with this name, or else this id.

    Raises:
        BadInput: no batch can have this name.
        NotFound: there is none.
    """
    from sqlalchemy import select

    from app.prompts.models import Batch

    wrong = flaw(name)
    if wrong:
        raise BadInput(f"A batch name cannot contain {wrong}: the Batches page lists all names.")
    found = session.scalar(select(Batch.id).where(Batch.name == name))
    if found is None and re.fullmatch(
        "[0-9]{1,18}", name
    ):  # a batch may be named "12"; int() would read "²" and "१२" as well
        found = session.scalar(select(Batch.id).where(Batch.id == int(name)))
    if found is None:
        raise NotFound(f"There is no batch {name}: the Batches page lists all.")
    return found


def known_language(said: str) -> str:
    """The code of a language that is named or abbreviated; :class:`BadInput` where Corral knows none of that name."""
    from training.formats.languages import code_of

    code = code_of(said)
    if code is None:
        raise BadInput(f"{quotable(said, 40)} is no language that Corral knows: use its code, such as de.")
    return code


def ask_password() -> str:
    """A password from the terminal, typed twice; or the first line of standard input where that is no terminal.

    Raises:
        BadInput: standard input is empty.
    """
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt="Repeat it"))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise BadInput("A password is needed: type it at the prompt, or send it as the first line of standard input.")
    return password


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under titles, each column as wide as its longest value."""
    lines = [[str(value) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(titles), *lines]) for column in range(len(titles))]
    for line in [list(titles), *lines]:
        typer.echo("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())


def address() -> str:
    """Where this installation's pages are, as far as a command can know."""
    from app.kernel.settings import get_settings
    from app.laptop.launch import address_of

    settings = get_settings()
    running = Instance(settings.data_dir.resolve()).running()
    return running.address if running and not settings.public_url else address_of(settings)
