"""K answers of one checkpoint to each prompt, as `workers.training.rejection` or any other program has written them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from training.data import conversations
from training.data.chat import Message
from training.data.checks import Case, names
from training.data.left_out import UnusableError
from training.data.snapshot import check_steps
from training.formats.errors import DataError
from training.formats.prompts import content_hash
from training.formats.rankings import Steps

REMEDY = "remove that line and sample again"


UNFINISHED, NOT_RUN = "calls_unfinished", "calls_not_run"
"""What answers are counted as that end with a call, and those of which a call did not run."""


class Answer(NamedTuple):
    """One answer: `steps` are the calls of tools before it and what they answered, `ended` is how these came to their end."""

    text: str
    finish_reason: str | None = "stop"
    steps: Steps = ()
    ended: str | None = None

    @property
    def broken(self) -> str | None:
        """Why its calls should not be imitated, whatever it says in the end."""
        if self.ended not in {None, "answered"}:
            return UNFINISHED
        return NOT_RUN if any(step.get("failed") for step in self.steps) else None


@dataclass(frozen=True)
class Sampled:
    """K answers of one checkpoint to one prompt, and what they can be checked against."""

    prompt_id: str
    prompt: tuple[Message, ...]
    tools: list[Any] | None
    checkpoint: str
    answers: tuple[Answer, ...]
    capability: str | None = None
    reference: str | None = None
    tests: Any = None
    verifiers: tuple[str, ...] | None = None  # those that check it; None is all that apply
    required: tuple[str, ...] | None = None  # those that have to pass; None leaves it to the run file
    language: str | None = None  # a code, where somebody said or detected it

    @property
    def question(self) -> str:
        """The last user turn, whose language an answer should have."""
        return question(self.prompt)

    @property
    def key(self) -> str:
        """What makes two prompts the same, with or without an id."""
        return content_hash(self.prompt, self.tools).hex()

    def steps_of(self, text: str) -> Steps:
        """What came before an answer; of one text twice, what came before the first that may be imitated."""
        found = sorted((each for each in self.answers if each.text == text), key=lambda each: each.broken is not None)
        return found[0].steps if found else ()

    def case(self, text: str) -> Case:
        """An answer with what it can be checked against."""
        return Case(self.prompt, text, self.reference, self.tests, self.tools, steps=list(self.steps_of(text)) or None)


def question(prompt: tuple[Message, ...]) -> str:
    """The last user turn of a prompt."""
    return next((str(turn["content"]) for turn in reversed(prompt) if turn["role"] == "user"), "")


def read(file: Path) -> list[Sampled]:
    """One prompt a line: `prompt_id`, `prompt`, `tools`, `checkpoint`, and `samples` with `text` and `finish_reason`.

    Where tools could be called a sample has `steps` and `ended`, too. Where known also `capability`, `language`, `reference`,
    `tests`, `verifiers` and `required`.

    Raises:
        DataError: naming the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): sample first") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(_read(json.loads(line)))
        except UnusableError as error:
            raise DataError(f"{file}, line {number}: {error}: {REMEDY}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{file}, line {number}: {error!r}: {REMEDY}") from error
    if not found:
        raise DataError(f"{file} has no samples: sample first")
    return found


def steps_in(given: Any) -> Steps:
    """Steps as a file has them.

    Raises:
        ValueError: they are none.
    """
    check_steps(given)
    return tuple(given or ())


def _read(body: dict[str, Any]) -> Sampled:
    answers = tuple(
        Answer(str(sample["text"]), sample.get("finish_reason"), steps_in(sample.get("steps")), sample.get("ended"))
        for sample in body["samples"]
    )
    return Sampled(
        prompt_id=str(body["prompt_id"]),
        prompt=conversations.messages(body["prompt"]),
        tools=body.get("tools"),
        checkpoint=body["checkpoint"],
        answers=answers,
        capability=body.get("capability"),
        reference=body.get("reference"),
        tests=body.get("tests"),
        verifiers=names(body.get("verifiers")),
        required=names(body.get("required")),
        language=body.get("language"),
    )
