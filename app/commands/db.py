"""``corral db``: migrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.kernel.errors import Conflict
from app.kernel.settings import get_settings
from app.services.embedded import temporary_postgres
from app.services.instance import Instance, database

commands = typer.Typer(no_args_is_help=True, help="Migrations, dump and load, and the database's address.")


@commands.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest schema."""
    from app.services.migrating import heads
    from app.services.migrating import upgrade as bring

    with database() as url:
        bring(url)
    typer.echo(f"The database is at {', '.join(sorted(heads()))}.")


@commands.command("check")
def check() -> None:
    """Walk all migrations up, down and up in a scratch database, and compare the result with the models."""
    from app.upkeep.drift import check as compare

    given = get_settings().database_url
    if given:
        compare(given)
    else:
        with temporary_postgres() as url:
            compare(url)
    typer.echo("Migrations go up and down, and agree with the models.")


@commands.command("dump")
def dump(file: Annotated[Path, typer.Argument(help="A new file; - writes to standard output.")]) -> None:
    """Write the whole embedded database as SQL, to back it up or to move it. Any PostgreSQL from 17 on reads it."""
    from app.services.dumps import dump as write

    if get_settings().database_url:
        raise Conflict(
            "This database is not Corral's own: dump it with the pg_dump of that server (docs/operations.md, Move)."
        )
    with database(migrate=False) as url:
        write(url, file)
    typer.echo("Dump written. Checkpoints and snapshots are files in the data folder: copy those as well.", err=True)


@commands.command("load")
def load(file: Annotated[Path, typer.Argument(help="What `corral db dump` wrote; - reads standard input.")]) -> None:
    """Read a dump into an installation that has no data yet."""
    from app.services.dumps import load as read

    with database(migrate=False) as url:
        read(url, file)
    typer.echo("Dump loaded. The next start migrates it if the dump is older.", err=True)


@commands.command("url")
def url() -> None:
    """Print the database's address, e.g. for psql."""
    given = get_settings().database_url
    if given:
        typer.echo(given)
        return
    server = Instance(get_settings().data_dir.resolve()).postgres
    typer.echo(server.url())
    if server.pid() is None:
        typer.echo("It is not running now: start it with `corral up`.", err=True)
