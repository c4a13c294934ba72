"""What the commands have in common that ask a model many times: files of lines that they add to, what they say, and how they end.

A line is written as soon as something is done, so a command that is given again goes on behind the lines that are there. A report
beside the file, written last, says what came of all of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from training.formats import files
from workers.engines.protocol import EngineAway, ModelMissing

Line = dict[str, Any]
PAUSE = 5.0
"""Seconds between two tries while the engine is away."""
T = TypeVar("T")


def whole(file: Path) -> list[Line]:
    """The lines of a file that a killed process may have been writing; what it left unfinished is cut off."""
    body = file.read_bytes()
    kept = body[: body.rfind(b"\n") + 1]
    if kept != body:
        with file.open("r+b") as stream:
            stream.truncate(len(kept))
    return [json.loads(line) for line in kept.splitlines()]


def before(file: Path, **of: str) -> list[Line]:
    """What an earlier start has written, the file being there afterwards; nothing is kept where a line differs from ``of``.

    Raises:
        OSError, ValueError, KeyError: the file cannot be read or made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    found = whole(file)
    if any(line[name] != value for line in found for name, value in of.items()):
        file.write_bytes(b"")
        return []
    return found


def add(file: Path, line: Line) -> None:
    """Write one line more."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def report(file: Path, body: dict[str, Any]) -> None:
    """Say beside the lines what came of them."""
    write(file.with_suffix(".report.json"), body)


def write(file: Path, body: dict[str, Any]) -> None:
    """One JSON object; the file appears whole."""
    files.write_json(file, body)


async def together(things: Iterable[T], one: Callable[[T], Awaitable[None]], *gives_up: type[Exception]) -> None:
    """Do one thing to all, at once. What ``gives_up`` names ends all of it; the first that came is raised, alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for thing in things:
                group.create_task(_done(one, thing))
    except* gives_up as errors:
        raise errors.exceptions[0] from errors


async def _done(one: Callable[[T], Awaitable[None]], thing: T) -> None:
    await one(thing)


def patiently(work: Callable[[], int], kept: str, seconds: float) -> int:
    """Do what asks the engine; where it is away, wait up to ``seconds`` for it and go on behind the lines that are there.

    An engine that starts beside a training, as after every start of the installation, must not cost a night. Returns the exit
    code of ``work``, or 1 where nothing came of the wait; ``kept`` says what is there by then.
    """
    ends = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        try:
            return work()
        except (EngineAway, ModelMissing) as error:
            now = time.monotonic()
            if now - began > PAUSE:  # it answered for a while: what ends now is another absence
                ends = now + seconds
            if now >= ends:
                return end(f"{error} Start again when the engine is back: {kept}.", 1)
            say(f"waiting for the engine: {error}")
            time.sleep(min(PAUSE, ends - now))


def say(line: str) -> None:
    """Print it at once: whoever watches a run must not take it for dead."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def end(sentence: str, status: int) -> int:
    """Say why a command ends; returns its exit code."""
    sys.stderr.write(f"{sentence}\n")
    return status


def without_installation(asked_for: str) -> int:
    """End a command that asks an installation for its champion, its judge or other models, where there is none."""
    return end(f"This command asks an installation for its {asked_for}: run it where DATABASE_URL is set.", 2)
