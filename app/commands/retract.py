"""``corral retract``: take annotations out of exports, training and contests, bring them back, and see what there was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.common import batch_id, person, table, transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.lineage.reach import Reach

commands = typer.Typer(no_args_is_help=True, help="Take annotations out of exports, training and contests.")

Why = Annotated[str, typer.Option("--reason", help="Why; kept with the retraction and in the audit log.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only say what it would take out.")]


@commands.command("annotation")
def annotation(
    number: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The annotation's id.")],
    reason: Why = "",
    dry_run: Dry = False,  # noqa: FBT002 - typer makes it an option
) -> None:
    """Retract one annotation, with its earlier versions."""
    with transaction() as session:
        _retract(session, "annotation", number, reason, dry_run=dry_run)


@commands.command("person")
def of_person(
    email: Annotated[str, typer.Argument(help="Their e-mail address for signing in.")],
    reason: Why = "",
    dry_run: Dry = False,  # noqa: FBT002 - as above
    erase: Annotated[  # noqa: FBT002 - as above
        bool, typer.Option("--erase", help="Also blank what they wrote and remove the files that hold it; for good.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Retract all that a person judged, and with --erase blank what they wrote."""
    with transaction() as session:
        if erase and not dry_run and not yes:
            typer.confirm(f"Erase all that {email} wrote? This cannot be undone", abort=True)
        _retract(session, "person", person(session, email).id, reason, dry_run=dry_run, erase=erase)


@commands.command("batch")
def batch(
    name: Annotated[str, typer.Argument(help="The batch, by name or id.")],
    reason: Why = "",
    dry_run: Dry = False,  # noqa: FBT002 - as above
) -> None:
    """Retract all annotations of a batch."""
    with transaction() as session:
        _retract(session, "batch", batch_id(session, name), reason, dry_run=dry_run)


@commands.command("restore")
def restore(number: Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The retraction's id.")]) -> None:
    """Bring back what a retraction took out."""
    with transaction() as session:
        from app.annotations.models import Retraction
        from app.kernel.errors import NotFound
        from app.lineage import service

        made = session.get(Retraction, number)
        if made is None:
            raise NotFound(f"There is no retraction {number}: `corral retract list` shows all.")
        restored = service.restore(session, None, made)
    typer.echo(f"Retraction {number} is restored: {restored:,} annotations count again.")


@commands.command("list")
def list_() -> None:
    """Show the last two hundred retractions."""
    with transaction() as session:
        from app.lineage import queries, targets

        rows = [
            (
                row.retraction.id,
                "restored" if row.retraction.restored_at else "erased" if row.retraction.erased else "in force",
                row.retraction.annotations,
                targets.find(session, row.retraction.scope, row.retraction.target_id).words,
                row.retraction.reason.replace("\n", " ")[:60],
            )
            for row in queries.list_retractions(session, limit=200).rows
        ]
    table(("id", "state", "annotations", "of", "why"), rows)


def _retract(session: Session, name: str, target_id: int, reason: str, *, dry_run: bool, erase: bool = False) -> None:
    from app.annotations.models import RetractionScope
    from app.lineage import queries, service, targets
    from app.lineage.reach import reach

    scope = RetractionScope(name)
    if dry_run:
        target = targets.find(session, scope, target_id)
        _say(f"It would take out {target.words}:", reach(session, service.left_of(target)))
        return
    made = service.retract(session, None, scope, target_id, reason, erase=erase)
    _say(f"Retraction {made.id} took out:", queries.retracted_by(session, made))
    typer.echo("Start a training to have models without it: `Train without it` on its page, or the nightly one.")


def _say(beginning: str, found: Reach) -> None:
    typer.echo(beginning)
    lines = (
        ("annotations", found.annotations),
        ("earlier versions", found.earlier),
        ("snapshots", [each.snapshot.name for each in found.snapshots]),
        ("runs", [use.run.id for use in found.uses]),
        ("tainted", [each.checkpoint.name for each in found.tainted]),
        ("touched", [each.checkpoint.name for each in found.touched]),
        ("contests", [each.contest.id for each in found.contests]),
    )
    for name, value in lines:
        said = f"{value:,}" if isinstance(value, int) else ", ".join(map(str, value)) or "none"
        typer.echo(f"  {name:<17} {said}")
