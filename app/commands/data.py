"""``corral export``, ``corral sample``, ``corral audit``: what goes out, comes in, and must hold."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.common import transaction
from app.errors import AppError, BadInput, NotFound
from app.storable import flaw

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def export(
    out: Annotated[
        str, typer.Option(help="A file, which appears only when it is complete; - is standard output.")
    ] = "-",
    form: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="JSON Lines or Parquet.")] = "jsonl",
    shape: Annotated[
        Literal["canonical", "trl"], typer.Option(help="All that is known, or what TRL reads.")
    ] = "canonical",
    batch: Annotated[
        list[str] | None, typer.Option(help="Only this batch, by name, else by id; repeat for several.")
    ] = None,
    round_: Annotated[
        list[int] | None, typer.Option("--round", min=0, max=2**31 - 1, help="Only this round; repeat for several.")
    ] = None,
    split: Annotated[
        Literal["train", "held_out", "all"] | None,
        typer.Option(
            help="One side of the split, or all; without it TRL's shape has the train side.", show_default=False
        ),
    ] = None,
    min_strength: Annotated[int | None, typer.Option(min=1, max=4, help="Only pairs of this strength and up.")] = None,
) -> None:
    """Write the preferences that annotators expressed."""
    with transaction() as session:
        from sqlalchemy import text

        from app.preferences.download import logged
        from app.preferences.export import Progress
        from app.preferences.forms import ExportFilter, Format, Shape, Side, split_for

        # a pager reads as slowly as it likes, and the event before the first row ends a transaction
        session.execute(text("SET idle_in_transaction_session_timeout = 0"))
        wanted = ExportFilter(
            batch_ids=tuple(_batch_id(session, name) for name in batch or ()),
            rounds=tuple(round_ or ()),
            split=split_for(Shape(shape), Side(split) if split else None),
            min_strength=min_strength,
        )
        progress = Progress()
        chunks = logged(session, None, Shape(shape), Format(form), wanted, progress)
        if out == "-":
            sys.stdout.buffer.writelines(chunks)
            return
        target = Path(out)
        draft = target.with_name(f".{target.name}.tmp-{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            raise AppError(
                f"{target} cannot be written ({error.strerror}): choose another place, or make room."
            ) from error
        finally:
            draft.unlink(missing_ok=True)
    typer.echo(f"{progress.rows} rows ({wanted.words()}) are in {target}.")


def _batch_id(session: Session, name: str) -> int:
    from sqlalchemy import select

    from app.prompts.models import Batch

    wrong = flaw(name)
    if wrong:
        raise BadInput(f"A batch has no name with {wrong}: the Batches page lists all.")
    found = session.scalar(select(Batch.id).where(Batch.name == name))
    if found is None and re.fullmatch(
        "[0-9]{1,18}", name
    ):  # a batch may be named "12"; int() would read "²" and "१२" as well
        found = session.scalar(select(Batch.id).where(Batch.id == int(name)))
    if found is None:
        raise NotFound(f"There is no batch {name}: the Batches page lists all.")
    return found


def sample() -> None:
    """Load the sample batch into an installation that has no batch yet."""
    from app.prompts.service import load_sample, unseen_in_sample

    with transaction() as session:
        batch = load_sample(session)
        typer.echo(f"The batch {batch.name} is open." if batch else "There are batches already, so nothing was loaded.")
    for sentence in unseen_in_sample() if batch else ():
        typer.echo(sentence)


def audit() -> None:
    """Check every promise between rows, and between rows and files; status 1 when one is broken."""
    with transaction() as session:
        from app.audit import audit as look

        problems = look(session)
    for problem in problems:
        typer.echo(f"{problem.row} {problem.what}.\n    {problem.remedy}")
    if problems:
        raise typer.Exit(1)
    typer.echo("Every promise holds.")
