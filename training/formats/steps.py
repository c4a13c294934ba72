"""Steps of a solution and what is thought of them: the lines of a response, labelled up to the first wrong one.

A step is a line that shows something. Labels are those of PRM800K (Lightman et al., arXiv 2305.20050): 1 good, 0 neutral,
-1 wrong; what follows a wrong step is not labelled. TRL's stepwise form knows right and wrong only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from training.formats.texts import shows_nothing

WRONG: Final = -1
LABELS: Final = (-1, 0, 1)


def spans(response: str) -> list[tuple[int, int]]:
    """Where each step of a response begins and ends, without the white space around it, in characters."""
    found, at = [], 0
    for line in response.split("\n"):
        if not shows_nothing(line):
            begins = at + len(line) - len(line.lstrip())
            found.append((begins, begins + len(line.strip())))
        at += len(line) + 1
    return found


def cut(response: str) -> list[str]:
    """The steps of a response."""
    return [response[begins:ends] for begins, ends in spans(response)]


def stepwise(prompt: Sequence[Mapping[str, Any]], steps: Sequence[str], labels: Sequence[int]) -> dict[str, Any] | None:
    """A row as TRL's stepwise trainers read it: ``{prompt, completions, labels}``, to the first wrong step.

    Args:
        prompt: The conversation, oldest message first.
        steps: The steps of the response, in their order.
        labels: Of the first steps; there may be fewer labels than steps.

    Returns:
        The row, or None where nothing is labelled.

    Raises:
        ValueError: a label is none of -1, 0 and 1, or there are more labels than steps.
    """
    if len(labels) > len(steps) or any(label not in LABELS for label in labels):
        raise ValueError("labels are -1, 0 or 1, and no more than there are steps")
    kept = labels[: labels.index(WRONG) + 1] if WRONG in labels else labels
    if not kept:
        return None
    return {
        "prompt": text_of(prompt),
        "completions": list(steps[: len(kept)]),
        "labels": [label != WRONG for label in kept],
    }


def text_of(prompt: Sequence[Mapping[str, Any]]) -> str:
    """A conversation as the one text that TRL's stepwise form has room for; who speaks is said where several do."""
    messages = [(str(message.get("role")), str(message.get("content") or "")) for message in prompt]
    if sum(role != "system" for role, _ in messages) <= 1:
        return "\n\n".join(content for _, content in messages)
    return "\n\n".join(f"{role}: {content}" for role, content in messages)
