"""``corral export``, ``corral private``, ``corral sample``, ``corral audit``: what goes out, comes in, and must hold."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.common import batch_id, known_language, transaction
from app.judgements.vocabulary import Outcome
from app.kernel.errors import AppError
from app.preferences.exporters import Format, Shape
from app.preferences.forms import Concern, Treatment
from app.prompts.origins import Origin

if TYPE_CHECKING:
    from app.preferences.changes import Window


def export(  # noqa: PLR0913, PLR0917 - each is an option of the command
    out: Annotated[str, typer.Option(help="Output file, created only once complete; - is standard output.")] = "-",
    form: Annotated[
        Format, typer.Option("--format", help=" ".join(each.exporter.purpose for each in Format))
    ] = Format.JSONL,
    shape: Annotated[Shape, typer.Option(help=" ".join(each.exporter.purpose for each in Shape))] = Shape.CANONICAL,
    batch: Annotated[list[str] | None, typer.Option(help="Only this batch, by name or id; can be repeated.")] = None,
    round_: Annotated[
        list[int] | None, typer.Option("--round", min=0, max=2**31 - 1, help="Only this round; can be repeated.")
    ] = None,
    split: Annotated[
        Literal["train", "held_out", "all"] | None,
        typer.Option(help="One side of the split, or all; TRL's shape defaults to the train side.", show_default=False),
    ] = None,
    min_strength: Annotated[
        int | None, typer.Option(min=1, max=4, help="Only pairs of at least this strength.")
    ] = None,
    origin: Annotated[
        list[Origin] | None, typer.Option(help="Only prompts of this origin; can be repeated.", show_default=False)
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Only prompts in this language, said or detected, such as de; can be repeated."),
    ] = None,
    capability: Annotated[list[str] | None, typer.Option(help="Only prompts that test this; can be repeated.")] = None,
    annotator: Annotated[
        list[str] | None, typer.Option(help="Only judgements of this person, by pseudonym; can be repeated.")
    ] = None,
    outcome: Annotated[
        list[Outcome] | None,
        typer.Option(help="Only judgements that came to this; can be repeated.", show_default=False),
    ] = None,
    first_day: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="Only judgements of this day (UTC) and later."),
    ] = None,
    without: Annotated[
        list[Concern] | None,
        typer.Option(help="Not prompts of which people said this; can be repeated.", show_default=False),
    ] = None,
    private: Annotated[
        Treatment | None,
        typer.Option(help="What becomes of private data that patterns find; see corral private.", show_default=False),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only what changed since the export that gave this cursor; start is everything.")
    ] = None,
    cursor: Annotated[
        Path | None,
        typer.Option(
            help="Only what changed since the cursor in this file, if there is one; the new one is written into it."
        ),
    ] = None,
    last_day: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Only judgements of this day (UTC) and earlier."),
    ] = None,
) -> None:
    """Write the preferences that annotators expressed."""
    with transaction() as session:
        from sqlalchemy import text

        from app.preferences.changes import START
        from app.preferences.download import asked_since, logged
        from app.preferences.export import Progress
        from app.preferences.forms import Selection, Side

        # a pager reads as slowly as it likes, and the event before the first row ends a transaction
        session.execute(text("SET idle_in_transaction_session_timeout = 0"))
        chosen = Selection(
            batch=[batch_id(session, name) for name in batch or ()],
            rounds=round_ or [],
            split=Side(split) if split else None,
            min_strength=min_strength,
            origin=origin or [],
            language=[known_language(each) for each in language or ()],
            capability=capability or [],
            annotator=annotator or [],
            outcome=outcome or [],
            first_day=first_day and first_day.date(),
            last_day=last_day and last_day.date(),
            without=without or [],
            private=private,
        )
        wanted = chosen.wanted(shape)
        progress = Progress()
        if cursor is not None and since is None:
            since = cursor.read_text().strip() if cursor.exists() else START
        window = asked_since(session, since, shape, wanted)
        chunks = logged(session, None, shape, form, wanted, progress, window)
        if out == "-":
            sys.stdout.buffer.writelines(chunks)
            sys.stdout.buffer.flush()
            _tell(window, cursor)
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
    _tell(window, cursor)


def private(
    shape: Annotated[Shape, typer.Option(help="The shape whose rows are counted.")] = Shape.CANONICAL,
    batch: Annotated[list[str] | None, typer.Option(help="Only this batch, by name or id; can be repeated.")] = None,
    round_: Annotated[
        list[int] | None, typer.Option("--round", min=0, max=2**31 - 1, help="Only this round; can be repeated.")
    ] = None,
) -> None:
    """List what patterns find to be private in preferences, a line each, masked, before they are exported."""
    with transaction() as session:
        from sqlalchemy import text

        from app.preferences.forms import Selection
        from app.preferences.private.kinds import MISSES, found_by
        from app.preferences.private.search import Part, count, search

        session.execute(text("SET idle_in_transaction_session_timeout = 0"))  # a pager reads as slowly as it likes
        chosen = Selection(batch=[batch_id(session, name) for name in batch or ()], rounds=round_ or [])
        wanted = chosen.wanted(shape)
        of, part, whole = count(session, shape, wanted), Part(next=0), Part()
        while part.next is not None:
            part = search(session, shape, wanted, after=part.next, places=500)
            for each in part.places:
                typer.echo(f"{each.annotation_id}\t{each.column}\t{each.kind}\t{each.excerpt}")
            whole.searched += part.searched
            whole.judgements += part.judgements
            whole.rows += part.rows
            whole.passages += part.passages
            if part.next is not None:
                typer.echo(f"{whole.searched:,} of {of:,} judgements searched", err=True)
    kinds = ", ".join(f"{number:,} {kind.label}" for kind, number in sorted(whole.passages.items())) or "nothing"
    typer.echo(f"{whole.judgements:,} of {whole.searched:,} judgements ({whole.rows:,} rows): {kinds}.", err=True)
    typer.echo(f"Found by {found_by()}. {MISSES}", err=True)


def _tell(window: Window | None, file: Path | None) -> None:
    """Say where the next export goes on, once this one is complete."""
    from training.formats.files import write_text

    if window is not None and file is not None:
        write_text(file, f"{window.cursor}\n")
    elif window is not None:
        typer.echo(f"Cursor: {window.cursor}", err=True)


def sample() -> None:
    """Load the sample batch into an installation that has no batch yet."""
    from app.prompts.service import load_sample, unseen_in_sample

    with transaction() as session:
        batch = load_sample(session)
        typer.echo(f"The batch {batch.name} is open." if batch else "Batches already exist, so nothing was loaded.")
    for sentence in unseen_in_sample() if batch else ():
        typer.echo(sentence)


def audit() -> None:
    """Check every promise between rows, and between rows and files; status 1 when one is broken."""
    with transaction() as session:
        from app.upkeep.audit import audit as look

        problems = look(session)
    for problem in problems:
        typer.echo(f"{problem.row} {problem.what}.\n    {problem.remedy}")
    if problems:
        raise typer.Exit(1)
    typer.echo("Every promise holds.")
