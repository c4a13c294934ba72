"""Solutions with labelled steps as token ids: TRL's stepwise form in, sequences with the places of their steps out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data import conversations, lines
from training.data.chat import Message, Tokenizer, encode_chat, encode_response
from training.data.left_out import UnusableError
from training.formats.errors import DataError
from training.formats.prompts import content_hash, split_of
from training.formats.steps import cut
from training.formats.texts import shows_nothing

REMEDY = "correct that row"


@dataclass(frozen=True)
class Solution:
    """A prompt with the first steps of a solution; only the last of them may be wrong."""

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    right: tuple[bool, ...]
    held_out: bool


@dataclass(frozen=True)
class Stepped:
    """Token ids of prompt and solution, and the place of each step's last token."""

    ids: list[int]
    ends: list[int]


def read(path: Path, held_out_percent: int) -> list[Solution]:
    """The rows ``{prompt, completions, labels}`` of a file, each up to its first wrong step.

    The prompt is a text or a conversation. A row may say its ``split``; else that of its prompt is drawn by its hash.

    Raises:
        DataError: naming the row and what is wrong with it.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist: give a file of rows with prompt, completions and labels")
    found = [_solution(row, f"{path}, {where}", held_out_percent) for where, row in lines.read(path, REMEDY)]
    if not found:
        raise DataError(f"{path} has no rows: label some steps first")
    return found


def encode(tokenizer: Tokenizer, prompt: Sequence[Message], steps: Sequence[str]) -> Stepped:
    """Each step as a line of its own, tokenised by itself: a value stands at its line end, wherever tokens join.

    Raises:
        DataError: the template refuses the conversation.
        ConfigError: the tokenizer has no chat template, or it does not continue with the answer.
    """
    messages = list(prompt)
    ids, ends = encode_chat(tokenizer, messages, add_generation_prompt=True), []
    for step in steps:
        ids = ids + encode_response(tokenizer, messages, f"{step.rstrip()}\n", ended=False).ids
        ends.append(len(ids) - 1)
    return Stepped(ids, ends)


def encode_text(tokenizer: Tokenizer, prompt: Sequence[Message], text: str, max_length: int) -> Stepped | None:
    """An answer with the ends of its steps; None where it has none, is too long, or the template refuses its prompt."""
    steps = cut(text)
    if not steps:
        return None
    try:
        sequence = encode(tokenizer, prompt, steps)
    except DataError:
        return None
    return sequence if len(sequence.ids) <= max_length else None


def _solution(row: dict[str, Any], where: str, held_out_percent: int) -> Solution:
    prompt = row.get("prompt")
    steps, labels = row.get("completions"), row.get("labels")
    try:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        messages = conversations.messages(turns)
    except UnusableError as error:
        raise DataError(f"{where}: prompt: {error}: {REMEDY}") from error
    if not isinstance(steps, list) or not all(isinstance(step, str) and not shows_nothing(step) for step in steps):
        raise DataError(f"{where}: completions must be a list of texts that are not blank: {REMEDY}")
    if not isinstance(labels, list) or not all(label in (True, False) for label in labels):
        raise DataError(f"{where}: labels must be a list of true and false: {REMEDY}")
    if not steps or len(steps) != len(labels):
        raise DataError(f"{where}: {len(steps)} completions have {len(labels)} labels: {REMEDY}")
    kept = labels.index(False) + 1 if False in labels else len(labels)
    split = row.get("split") or split_of(content_hash(messages, None), held_out_percent)
    return Solution(messages, tuple(steps[:kept]), tuple(bool(label) for label in labels[:kept]), split == "held_out")
