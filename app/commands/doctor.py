"""``corral doctor``."""

from __future__ import annotations

import typer

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor() -> None:
    """Say what is wrong with this installation and what to do about it; status 1 when something does not work."""
    from app.upkeep.diagnoses import Level
    from app.upkeep.doctor import examine

    failed = False
    for finding in examine():
        typer.secho(f"{finding.level.value:<5}", fg=COLOURS[finding.level.value], nl=False)
        typer.echo(f" {finding.subject:<22} {finding.found}")
        if finding.remedy:
            typer.echo(f"{'':<28} -> {finding.remedy}")
        failed = failed or finding.level is Level.FAIL
    if failed:
        raise typer.Exit(1)
