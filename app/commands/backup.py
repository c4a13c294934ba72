"""``corral backup`` and ``corral restore``: an installation as one file, and back."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.common import transaction
from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.services.instance import Instance, database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.upkeep.backups.archive import Contents, Told

MIB = 1024 * 1024


def backup(
    file: Annotated[Path, typer.Argument(help="A new file, there only once it is whole; - is standard output.")],
    verify: Annotated[  # noqa: FBT002 - typer makes it an option
        bool, typer.Option("--verify", help="Write nothing: read FILE and say whether it is sound.")
    ] = False,
    with_base_model: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--with-base-model", help="Take the converted base model as well.")
    ] = False,
) -> None:
    """Write database and files of this installation to one file, as of one moment, while work continues."""
    from app.upkeep.backups.making import back_up
    from app.upkeep.backups.restoring import sound

    data_dir = get_settings().data_dir.resolve()
    if verify:
        with _bar("verify") as told, sound(file, data_dir, told) as found:
            contents = found.contents
        _say("It is sound:", contents)
        return
    with database(migrate=False) as url:
        _note("installation.backup", to="-" if str(file) == "-" else file.name)
        with _bar("backup") as told:
            contents = back_up(url, data_dir, file, models=with_base_model, told=told)
        _note("installation.backed_up", rows=contents.rows, files=len(contents.files), made_at=contents.made_at)
    _say("Backup written:", contents)


def restore(file: Annotated[Path, typer.Argument(help="What `corral backup` wrote; - is standard input.")]) -> None:
    """Put a backup into an installation that has no data yet, and migrate it to this release."""
    from app.upkeep.backups.restoring import restore as put
    from app.upkeep.backups.restoring import sound

    data_dir = get_settings().data_dir.resolve()
    running = Instance(data_dir).running()
    if running is not None:
        raise Conflict(
            f"Corral runs on {data_dir}, at {running.address}: a backup is restored into an installation that is stopped and "
            "has no data."
        )
    with _bar("verify") as told, sound(file, data_dir, told) as found, database(migrate=False) as url:
        restored = put(url, found, data_dir)
        _note("installation.restore", made_at=found.contents.made_at)
    if restored.began_again:
        typer.echo("What an unfinished restore had left was removed first.", err=True)
    if restored.left_out:
        typer.echo(f"Left out, since they are not Corral's: {', '.join(restored.left_out)}.", err=True)
    _say("Restored:", restored.contents)
    typer.echo("Run `corral audit` now, then start Corral.", err=True)


@contextmanager
def _bar(what: str) -> Iterator[Told]:
    from app.client.bars import Bar

    with Bar(what, unit="MiB", shown=sys.stderr.isatty()) as bar:
        yield lambda count: bar.at(count // MIB)


def _note(action: str, **details: str | int) -> None:
    """In the audit log: before the first byte leaves, and at the end. Tables of another release are left alone."""
    from app.accounts.service import audit
    from app.services.migrating import current, heads

    with transaction() as session:
        if current(session) == heads():
            audit(session, None, action, "installation", None, **details)


def _say(what: str, contents: Contents) -> None:
    typer.echo(
        f"{what} {contents.rows:,} rows in {len(contents.tables)} tables and {len(contents.files):,} files "
        f"({contents.file_bytes / MIB:,.1f} MiB), as of {contents.made_at}; tables at {contents.revision}.",
        err=True,
    )
    for sentence in contents.damaged:
        typer.echo(f"Damaged when the backup was made: {sentence}", err=True)
