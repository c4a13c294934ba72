"""``corral db``: migrations."""

from __future__ import annotations

import typer

from app.embedded import temporary_postgres
from app.instance import Instance, database
from app.settings import get_settings

commands = typer.Typer(no_args_is_help=True, help="Migrations and the database's address.")


@commands.command("upgrade")
def upgrade() -> None:
    """Bring the database to the newest schema."""
    from app.migrating import heads
    from app.migrating import upgrade as bring

    with database() as url:
        bring(url)
    typer.echo(f"The database is at {', '.join(sorted(heads()))}.")


@commands.command("check")
def check() -> None:
    """Walk all migrations up, down and up in a scratch database, and compare the result with the models."""
    from app.drift import check as compare

    given = get_settings().database_url
    if given:
        compare(given)
    else:
        with temporary_postgres() as url:
            compare(url)
    typer.echo("Migrations go up and down, and agree with the models.")


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
