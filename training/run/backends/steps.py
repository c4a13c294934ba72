"""What a step takes, and what cannot be cut out of a pass, by who trains.

Corral steps over rows, prompts with all their responses, and reads a prompt once. TRL steps over pairs (fine-tuning: over
completions), each a sequence of its own with its prompt.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.formats.settings import RunConfig

if TYPE_CHECKING:
    from training.data.rows import Row


def taken(config: RunConfig, rows: Sequence["Row"]) -> int:
    """How many there are of what `optim.batch_size` counts."""
    if config.trainer == "corral":
        return len(rows)
    return sum(len(row.responses) if config.kind == "sft" else len(row.pairs) for row in rows)


def unit(config: RunConfig) -> str:
    """What `optim.batch_size` counts, in a word."""
    return "rows" if config.trainer == "corral" else "completions" if config.kind == "sft" else "pairs"


def tokens(config: RunConfig, rows: Sequence["Row"]) -> int:
    """Tokens that are trained on once through `rows`."""
    return sum(row.length if config.trainer == "corral" else row.unshared_length for row in rows)


def longest(config: RunConfig, rows: Sequence["Row"], whole: int) -> int:
    """Tokens of the longest pass that cannot be made smaller: a row, and for TRL a pair padded to one width.

    Args:
        config: Says who trains.
        rows: What it is trained on.
        whole: Tokens of the widest row in the form that the model reads; measuring reads rows in either case.
    """
    if config.trainer == "corral":
        return whole
    sides = 1 if config.kind == "sft" else 2
    return max(whole, *(sides * width(row) for row in rows))


def width(row: "Row") -> int:
    """Tokens of the longest of a row's responses behind its prompt."""
    return len(row.prompt_ids) + max(len(response.ids) for response in row.responses)


def micro_batch(batch: int, sequences: int, widest: int, budget: int) -> int:
    """How many of a step's `batch` go through the model at once, so that a pass has at most `budget` tokens.

    Args:
        batch: What one process takes in a step.
        sequences: Sequences of each.
        widest: Tokens of the longest sequence, to which the others are padded.
        budget: Tokens of a pass, padding included; one is taken however long it is.
    """
    most = max(1, budget // (sequences * widest))
    return max(size for size in range(1, batch + 1) if batch % size == 0 and size <= most)
