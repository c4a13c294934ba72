"""``corral source``: files that trainings learn from beside what people judged here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.common import table, transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.prompts.intake import SentFile
    from app.sources.models import Source

commands = typer.Typer(
    no_args_is_help=True, help="Files that trainings learn from beside what people judged here, by a weight."
)

Name = Annotated[str, typer.Argument(help="The source, by name or id.")]


@commands.command("add")
def add(
    file: Annotated[
        Path,
        typer.Argument(
            help="Preferences, or prompts with answers, in any form that an import takes; a folder that datasets saved; or a "
            "file of the Hugging Face hub, as hf://datasets/ORG/NAME/FILE."
        ),
    ],
    name: Annotated[str, typer.Option(help="What it is called.")],
    kind: Annotated[Literal["preferences", "completions"], typer.Option(help="What its rows are.")],
    origin: Annotated[Literal["human", "other_task", "synthetic"], typer.Option(help="Where they come from.")],
    licence: Annotated[str, typer.Option(help="What may be done with it, in your words.")] = "",
    leave_out_refused: Annotated[  # noqa: FBT002 - an option of the command
        bool, typer.Option("--leave-out-refused", help="Keep the valid rows; else one refused row refuses the file.")
    ] = False,
) -> None:
    """Add a source. No training learns from it until it has a weight."""
    with transaction() as session:
        from pydantic import ValidationError
        from sqlalchemy import text

        from app.kernel.errors import BadInput
        from app.prompts.forms import field_errors
        from app.sources import service
        from app.sources.forms import SourceIn
        from app.sources.storing import stored

        session.execute(text("SET idle_in_transaction_session_timeout = 0"))  # a large file takes a while to read
        about = {"name": name, "kind": kind, "origin": origin, "licence": licence}
        try:
            wanted = SourceIn.model_validate(about | {"leave_out_refused": leave_out_refused})
            sent = _sent(file)
        except ValidationError as error:
            field, said = next(iter(field_errors(error).items()))
            raise BadInput(f"The {field} cannot be used. {said}") from None
        except OSError as error:
            raise BadInput(f"{file} cannot be read ({error.strerror}): nothing was added.") from None
        with stored(sent, wanted) as found:
            made = service.add(session, None, wanted, found)
        said = f"{made.name}: {made.rows:,} kept, {sum(made.left_out.values()):,} left out"
    typer.echo(f"{said}. No training learns from it until it has a weight.")


def _sent(file: Path) -> SentFile:
    from app.kernel.settings import get_settings
    from app.prompts import hub, saved_datasets
    from app.prompts.intake import SentFile

    most = get_settings().upload_limit_bytes
    if hub.is_address(str(file)):
        return SentFile(*hub.fetched(str(file), most))
    if file.is_dir():
        return SentFile(*saved_datasets.of_folder(file, most))
    return SentFile(file.name, file.read_bytes())


@commands.command("list")
def list_() -> None:
    """All sources, newest first."""
    with transaction() as session:
        from sqlalchemy import select

        from app.sources.models import Source

        there = session.scalars(select(Source).order_by(Source.id.desc())).all()
        titles = ("id", "name", "kind", "origin", "rows", "weight", "sha-256")
        table(titles, [_row(each) for each in there])


@commands.command("weigh")
def weigh(
    name: Name,
    weight: Annotated[float, typer.Argument(min=0, max=10, help="How many times an epoch has each of its rows.")],
) -> None:
    """Set how much of it trainings learn from that start from now on; 0 is nothing."""
    with transaction() as session:
        from app.sources import service

        found = _source(session, name)
        service.weigh(session, None, found, weight)
        called = found.name
    typer.echo(f"{called} has the weight {weight:g}.")


@commands.command("withdraw")
def withdraw(name: Name) -> None:
    """No training that starts later learns from it. Its rows stay, for those that did."""
    with transaction() as session:
        from app.sources import service

        found = _source(session, name)
        service.withdraw(session, None, found)
        called = found.name
    typer.echo(f"{called} is withdrawn.")


@commands.command("delete-file")
def delete_file(name: Name) -> None:
    """Delete the file of a withdrawn source that no unfinished run needs; runs that learnt from it keep its hash."""
    with transaction() as session:
        from app.rounds import discarding

        found = _source(session, name)
        discarding.delete_file(session, None, found)
        called = found.name
    typer.echo(f"The file of {called} is deleted; the next sweep removes it from the disk.")


def _row(each: Source) -> tuple[object, ...]:
    weight = "deleted" if each.file_deleted_at else "withdrawn" if each.withdrawn_at else f"{each.weight:g}"
    return each.id, each.name, each.kind.value, each.origin.value, f"{each.rows:,}", weight, each.sha256[:12]


def _source(session: Session, name: str) -> Source:
    """The source with this name, or else this id. Raises NotFound."""
    from sqlalchemy import select

    from app.kernel.errors import NotFound
    from app.kernel.storable import flaw, quotable
    from app.sources.models import Source

    found = None if flaw(name) else session.scalar(select(Source).where(Source.name == name))
    if found is None and name.isascii() and name.isdigit() and len(name) <= 18:
        found = session.get(Source, int(name))
    if found is None:
        raise NotFound(f"There is no source {quotable(name, 60)}: `corral source list` shows all.")
    return found
