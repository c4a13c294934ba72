"""``corral checkpoint``: policies that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.commands.common import person, transaction
from app.kernel.errors import BadInput

commands = typer.Typer(no_args_is_help=True, help="Policies that were trained elsewhere.")


@commands.command("add")
def add(
    folder: Annotated[
        Path, typer.Argument(help="What PEFT's save_pretrained wrote: a LoRA adapter of the base model.")
    ],
    name: Annotated[str, typer.Option(help="Its name here; letters, digits, dots, dashes.")],
    by: Annotated[str, typer.Option(help="E-mail address of the admin who adds it.")],
) -> None:
    """Copy an adapter into this installation. It takes part once its page adds it to the rotation or to a contest."""
    from app.accounts.models import Role
    from app.registry import adapters, served

    if not served.is_name(name):
        raise BadInput(
            "A name has 1 to 80 letters, digits, dots, dashes or underscores, and begins with a letter or digit."
        )
    with transaction() as session:
        user = person(session, by)
        if user.role is not Role.ADMIN:
            raise BadInput(f"{user.email} is no admin, and admins alone add checkpoints.")
        made = adapters.add(session, user, folder, name)
        typer.echo(
            f"{made.name} is checkpoint {made.id}: /checkpoints/{made.id} adds it to the rotation or to a contest."
        )
