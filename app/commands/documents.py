"""``corral documents``: the texts that the search tool of a batch's prompts finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.common import batch_id, table, transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.prompts.models import Batch

commands = typer.Typer(no_args_is_help=True, help="Texts that the search tool of a batch's prompts finds.")

Name = Annotated[str, typer.Argument(help="The batch, by name or id.")]


@commands.command("add")
def add(name: Name, files: Annotated[list[Path], typer.Argument(help="Text files in UTF-8.")]) -> None:
    """Add documents to a batch: all of them, or none where one cannot be used."""
    with transaction() as session:
        from app.kernel.errors import BadInput
        from app.prompts import documents

        batch = _batch(session, name)
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as error:
                raise BadInput(f"{file} cannot be read ({error.strerror}): nothing was added.") from None
            documents.add(session, None, batch, file.name, content)
    typer.echo(f"{len(files)} {'document is' if len(files) == 1 else 'documents are'} in {batch.name}.")


@commands.command("list")
def list_(name: Name) -> None:
    """The documents of a batch."""
    with transaction() as session:
        from app.prompts import documents

        there = documents.of_batch(session, _batch(session, name))
        rows = [(each.id, each.filename, f"{each.bytes:,}", each.created_at.date(), each.sha256[:12]) for each in there]
        table(("id", "name", "bytes", "added", "sha-256"), rows)


@commands.command("delete")
def delete(
    name: Name,
    document: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="As `corral documents list` shows it.")],
) -> None:
    """Delete a document; what was found in it stays in the responses that found it."""
    with transaction() as session:
        from app.prompts import documents

        found = documents.access_document(session, _batch(session, name), document)
        filename = found.filename
        documents.remove(session, None, found)
    typer.echo(f"{filename} is deleted.")


def _batch(session: Session, name: str) -> Batch:
    from app.prompts.models import Batch

    return session.get_one(Batch, batch_id(session, name))
