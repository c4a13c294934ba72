"""Answers that a model wrote for training and that passed their checks: corrections of its own, and solutions written out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data import conversations, lines
from training.data.chat import Message
from training.data.left_out import UnusableError
from training.data.picks import Pick
from training.data.rules import Rules, broken_rule
from training.data.sampled import question, steps_in
from training.formats.errors import DataError

# (prompt, tools) -> the name under which it is counted where it is kept for measuring or too close to such a one
KeptOut = Callable[[Sequence[Message], list[Any] | None], str | None]


@dataclass(frozen=True)
class PutRight:
    """What may be learnt from, how many prompts were tried, and of how many the answer passed only once it was corrected."""

    picks: list[Pick]
    tried: int = 0
    corrected: int = 0


def read(file: Path | None, source: str, rules: Rules, kept_out: KeptOut, remedy: str) -> PutRight:
    """The answers of a file, unless one breaks a rule or its prompt is kept for measuring.

    Where the prompt holds a wrong answer and what was said of it, only the last turn is trained on.

    Raises:
        DataError: the file cannot be read.
    """
    found, tried, corrected = [], 0, 0
    for where, body in lines.read(file, remedy) if file else ():
        try:
            asked, prompt = (conversations.messages(body[key]) for key in ("asked", "prompt"))
            text, tools, steps = body["completion"], body.get("tools"), steps_in(body.get("steps"))
            names = {name: body[name] for name in ("prompt_id", "checkpoint")} | {"capability": body.get("capability")}
            rounds = int(body.get("rounds", 0))
        except (KeyError, TypeError, ValueError, UnusableError) as error:
            raise DataError(f"{file}, {where}: {error!r}: {remedy}") from error
        tried += 1
        decent = text is not None and broken_rule(question(asked), text, "stop", rules) is None
        if decent and not kept_out(asked, tools):
            corrected += rounds > 0
            found.append(Pick(source=source, prompt=prompt, tools=tools, completion=text, steps=steps, **names))
    return PutRight(found, tried, corrected)
