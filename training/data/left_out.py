"""What of a file or snapshot is not learnt from: how many rows for which reason, and which."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from training.formats.errors import TrainingError

NAMED_ROWS = 20  # how many rows a report names before it only counts

UNUSABLE = {
    "unknown_prompt": "have a prompt that is neither text nor messages",
    "different_prompts": "continue different prompts with chosen and rejected",
    "no_answer": "have a response that is not one assistant message with text",
    "tool_call_answers": "have a response that calls a tool",
    "broken_text": "hold half of a surrogate pair",
}
"""Why a row of a file cannot be learnt from, whatever the model: the reason as counts name it, and in words."""


class UnusableError(ValueError):
    """A row of a file says something, but nothing that can be learnt; `reason` is one of `UNUSABLE`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class LeftOut:
    """Filled while rows are read and rendered. `refusal` is the first error behind a row that no template renders."""

    rows: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refusal: TrainingError | None = None

    @property
    def counts(self) -> Counter[str]:
        """How many rows by reason."""
        return Counter({reason: len(ids) for reason, ids in self.rows.items()})

    @property
    def named(self) -> dict[str, list[str]]:
        """The first rows of each reason, as a report names them."""
        return {reason: ids[:NAMED_ROWS] for reason, ids in self.rows.items()}

    def add(self, reason: str, *ids: str) -> None:
        """Leave out the rows `ids`."""
        self.rows[reason] += ids

    def refuse(self, reason: str, row: str, error: TrainingError, *more: str) -> None:
        """Leave out a row that no template renders, and the rows `more` with the same prompt."""
        self.add(reason, row, *more)
        self.refusal = self.refusal or type(error)(f"row {row}: {error}")
