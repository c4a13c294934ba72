"""``corral setup``: what a deployment does once, before its services start. ``corral up`` does the same by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from app.commands.common import address
from app.kernel.settings import Settings, get_settings
from app.laptop.engine_command import base_model_is_due
from app.registry.files import push_base
from app.services.instance import database


def setup() -> None:
    """Convert the bundled base model, migrate the database, and print the first admin's link. Safe to run again."""
    from app.laptop.prepare import prepare

    get_settings().served_dir.mkdir(parents=True, exist_ok=True)  # an engine that does not find it does not start
    convert_base_model(get_settings())
    push_base()
    with database(migrate=False) as url:
        invite = prepare(url)
        where = address()
    typer.echo("The database is ready.")
    if invite:
        typer.echo(f"There is no admin yet. This one-time link creates the first: {where}/invite/{invite}")


def convert_base_model(settings: Settings) -> None:
    """Write the bundled model as safetensors where it is missing; a model of the operator's own is left alone.

    It needs torch, so it happens in a process of its own.
    """
    if not base_model_is_due(settings):
        return
    if not Path(settings.base_model_path).exists():  # else it only gets what came with a later release
        typer.echo("Converting the base model, once; about half a minute.")
    words = [sys.executable, "-m", "training.base_model", settings.base_model_path]
    finished = subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
    if finished.returncode:
        raise typer.Exit(finished.returncode)
