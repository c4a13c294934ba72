"""``corral make-prompts``: orders prompts from a generator, as the page does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from app.commands.common import batch_id, person, transaction
from app.kernel.errors import AppError, BadInput

POLL_S = 1.0


def make_prompts(  # noqa: PLR0913, PLR0917 - each is an option of the command
    generator: Annotated[str, typer.Argument(help="Which generator; a wrong name lists all.")],
    name: Annotated[str, typer.Option(help="Name of the batch that the prompts become.")],
    by: Annotated[str, typer.Option(help="E-mail address of the admin who orders.")],
    count: Annotated[int, typer.Option(min=1, help="Prompts, at most.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other prompts.")] = 0,
    model: Annotated[str | None, typer.Option(help="The external model that writes, by its name in Corral.")] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A text, a .jsonl with name and text, or a folder of texts; can be repeated."),
    ] = None,
    batch: Annotated[str | None, typer.Option(help="For translation: the batch whose prompts are translated.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="For translation: into which; can be repeated.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="For reasoning_gym: a task of it; can be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until they are made; needs running workers.")] = False,  # noqa: FBT002
) -> None:
    """Have prompts made and imported as a new batch in preparation."""
    documents = [document for each in source or () for document in _documents(each)]
    given = {"generator": generator, "count": count, "seed": seed, "model": model, "documents": documents}
    given |= {"tasks": task or [], "languages": language or [], "settings": {"name": name}}
    with transaction() as session:
        from pydantic import ValidationError

        from app.accounts.models import Role
        from app.synthesis.forms import SynthesisOrder
        from app.synthesis.service import order

        user = person(session, by)
        if user.role is not Role.ADMIN:
            raise BadInput(f"{user.email} is no admin, and admins alone order prompts.")
        try:
            wanted = SynthesisOrder.model_validate(
                given | ({"batch_id": batch_id(session, batch)} if batch is not None else {})
            )
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise BadInput(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}."
            ) from None
        found = order(session, user, wanted)
        ordered = found.id
    typer.echo(
        f"Order {ordered}: the prompts are being made while Corral runs; /syntheses/{ordered} shows how far it is."
    )
    if wait:
        _wait(ordered)


def _wait(ordered: int) -> None:
    """Print what becomes of an order, and end with status 1 where it becomes no batch."""
    while True:
        with transaction() as session:
            from app.synthesis.models import Synthesis

            found = session.get_one(Synthesis, ordered)
            over, state, batch = found.finished_at is not None, found.state.value, found.batch_id
            said = f"{found.next_number} of {found.wanted} tried, {found.made} made"
            said += f". {found.last_error}" if found.last_error else ""
        if over:
            typer.echo(f"{said}; {state}" + (f": batch {batch}." if batch else "."))
            raise typer.Exit(0 if batch else 1)
        time.sleep(POLL_S)


def _documents(source: Path) -> list[dict[str, str]]:
    """A file as texts, or all files of a folder with their paths in it as names; hidden ones and what is no text are left out."""
    from app.synthesis.documents import documents_of

    try:
        if not source.is_dir():
            return documents_of(source.name, source.read_bytes())
        found: list[dict[str, str]] = []
        for path in sorted(source.rglob("*")):
            inside = path.relative_to(source)
            if path.is_file() and not any(part.startswith(".") for part in inside.parts):
                try:
                    text = path.read_text(encoding="utf-8")
                except UnicodeDecodeError:
                    continue
                if text.strip() and "\0" not in text:
                    found.append({"name": inside.as_posix(), "text": text})
    except OSError as error:
        raise AppError(f"{source} cannot be read ({error.strerror}): name another file or folder.") from error
    return found
