"""``corral doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from app.upkeep.diagnoses import Diagnosis

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor() -> None:
    """Say what is wrong with this installation and what to do about it; status 1 when something does not work."""
    from app.upkeep.diagnoses import Level
    from app.upkeep.doctor import examine

    failed = False
    for finding in examine():
        say(finding)
        failed = failed or finding.level is Level.FAIL
    if failed:
        raise typer.Exit(1)


def say(finding: Diagnosis) -> None:
    """Print one line of the table, and the remedy below it."""
    typer.secho(f"{finding.level.value:<5}", fg=COLOURS[finding.level.value], nl=False)
    typer.echo(f" {finding.subject:<22} {finding.found}")
    if finding.remedy:
        typer.echo(f"{'':<28} -> {finding.remedy}")
