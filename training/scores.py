"""What a reward model says of responses: one number a response, of which only differences within a prompt mean something.

    python -m training.scores run.toml

`run.toml`::

    reward_model = "../reward/final"
    base_model = "SmolLM2-135M-Instruct" # where it lies now; without it where training found it
    responses = "responses.jsonl"        # one a line: prompt, tools, response
    output = "scores.json"               # a list of numbers, in their order; null where the chat template refuses one
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from training.data import responses
from training.formats import files
from training.measure import inference
from training.model import models
from training.run import tool


@dataclass(frozen=True)
class ScoresConfig:
    """A run file, see the module docstring."""

    reward_model: Path
    responses: Path
    output: Path
    base_model: str | None = None
    batch_size: int = 8
    max_length: int = 1024  # tokens of prompt and response; of a longer one the beginning is left out


def score(config: ScoresConfig, dry_run: bool) -> None:  # noqa: FBT001  as `tool.main` calls it
    """Read the responses, score them, write the numbers."""
    judge = inference.served(config.reward_model, "reward", base_model=config.base_model)
    rows = responses.read(config.responses)
    tool.say(f"{len(rows)} responses")
    if dry_run:
        return
    tokenizer = models.load_tokenizer(judge.base_model)
    encoded = [responses.encoded(tokenizer, row, config.max_length)[0] for row in rows]
    known = [place for place, ids in enumerate(encoded) if ids]
    rewards = inference.RewardModel(judge, tokenizer, config.batch_size).score([encoded[place] for place in known])
    found: list[float | None] = [None] * len(rows)
    for place, reward in zip(known, rewards, strict=True):
        found[place] = reward
    files.write_json(config.output, found)


if __name__ == "__main__":
    sys.exit(tool.main(__doc__ or "", ScoresConfig, score, sys.argv[1:]))
