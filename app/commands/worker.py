"""``corral worker``: the one command of another host."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from app.commands.doctor import say
from app.kernel.errors import BadInput
from app.kernel.jobs import Queue


def worker(
    queue: Annotated[Queue, typer.Argument(help="What it works on.")],
    name: Annotated[
        str, typer.Option(help="Its name, where a host has several for one queue; else the host's.")
    ] = "%h",
    for_the_night: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--for-the-night",
            help="End by itself once tonight's training has ended, or if none begins within an hour.",
        ),
    ] = False,
    until_idle: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--until-idle", help="End by itself once nothing is left to train, at once where nothing is."),
    ] = False,
) -> None:
    """Work on one queue, on any host that reaches database, broker and engine. Looks at these first.

    SIGTERM ends it: what it has is put down and queued again. Status: 0 it was asked to end, or ended by itself with everything
    trained; 1 it could not start; with --for-the-night or --until-idle also 3 a run failed, and 143 or 130 it was asked to end.
    """
    from app.upkeep import joining
    from app.upkeep.diagnoses import Level

    if for_the_night and until_idle:
        raise BadInput("Give --for-the-night or --until-idle, not both.")
    if (for_the_night or until_idle) and queue is not Queue.TRAINING:
        raise BadInput(
            "Only a worker of the training queue ends by itself: leave out --for-the-night and --until-idle."
        )
    settings = joining.settings_here()
    found = list(joining.examine(settings, queue))
    for each in found:
        say(each)
    if any(each.level is Level.FAIL for each in found):
        raise typer.Exit(1)
    words = command(queue, name)
    sys.stdout.flush()
    if for_the_night or until_idle:
        from app.upkeep import night

        raise typer.Exit(night.run(words, night.NIGHT_S if for_the_night else night.IDLE_S))
    os.execv(words[0], words)  # noqa: S606 - from here on this process is Celery: signals and the status are its own


def command(queue: Queue, name: str) -> list[str]:
    """The words that start the Celery worker of a queue."""
    from app.laptop.pools import POOLS

    words = [sys.executable, "-m", "celery", "-A", "workers.celery_app", "worker", *POOLS[queue].of(queue)]
    return [*words, "-n", f"{queue.value}@{name}", "--without-gossip", "--without-mingle"]
