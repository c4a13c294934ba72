"""``corral store``: the store through which hosts without a shared disk exchange files."""

from __future__ import annotations

import typer

from app.commands.common import transaction
from app.kernel.errors import BadInput
from app.kernel.settings import get_settings

commands = typer.Typer(no_args_is_help=True, help="What hosts without a shared disk exchange (CORRAL_STORE).")


@commands.callback()
def _named() -> None:
    """What hosts without a shared disk exchange (CORRAL_STORE)."""


@commands.command("push")
def push() -> None:
    """Push the base model, checkpoints, snapshots and sources that this host has; what is there is not sent again."""
    if not get_settings().store:
        raise BadInput("There is no store: set CORRAL_STORE, e.g. to s3://BUCKET/PREFIX.")
    with transaction() as session:
        from sqlalchemy import text

        from app.upkeep import sharing

        session.execute(text("SET idle_in_transaction_session_timeout = 0"))  # a large model takes a while to send
        missing = []
        for name, here in sharing.push(session):
            typer.echo(f"{'pushed' if here else 'not on this host'}  {name}")
            missing += [] if here else [name]
    if missing:
        typer.echo(f"Run this on the hosts that have the other {len(missing)} as well.")
