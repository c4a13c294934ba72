"""How much of human preference a small reward model learns: 1,000 public pairs, 400 more held out by prompt.

    python -m benchmarks.human_pairs FILE     or HH_PAIRS=FILE; skipped where there is none

FILE is hh_helpful_rejection_sampled.jsonl.gz: the helpful-rejection-sampled test split of anthropics/hh-rlhf (MIT), whole
transcripts under `chosen` and `rejected`. Pairs within 256 tokens are drawn by a seed, `python -m training.reward` learns
from them with the laptop recipe, and `python -m training.evaluate` measures what was saved, beside "longer wins",
"shorter wins" and a bag of words on the same pairs. There is no budget: whatever comes out is the result.
"""

import argparse
import gzip
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.planted import run
from training import base_model
from training.data.chat import encode_chat, encode_response
from training.model import models

TRAIN, HELD_OUT, MAX_TOKENS, SEED = 1000, 400, 256, 17
TURN = re.compile(r"\n\n(Human|Assistant): ?")
ROLES = {"Human": "user", "Assistant": "assistant"}
SHOWN = (
    "held_out/accuracy",
    "held_out/best_of_4",
    "held_out/length_correlation",
    "held_out/longer_wins_accuracy",
    "held_out/shorter_wins_accuracy",
    "held_out/bag_of_words_accuracy",
    "held_out/accuracy_above_bag_of_words",
)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=os.environ.get("HH_PAIRS"))
    parser.add_argument("--train", type=int, default=TRAIN)
    options = parser.parse_args()
    if options.file is None or not Path(options.file).is_file():
        print("skipped: hh_helpful_rejection_sampled.jsonl.gz is not here; name it, or set HH_PAIRS")
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base_model.convert(folder / "base")
        pairs = fitting(read(Path(options.file)), folder / "base")
        print(f"{len(pairs)} pairs within {MAX_TOKENS} tokens, {options.train} to train on, {HELD_OUT} held out")
        write(folder / "pairs.jsonl", split(pairs, options.train))
        settings: dict[str, Any] = {"seed": SEED, "snapshot": "../pairs.jsonl", "base_model": "../base", "name": "hh"}
        tables = {"data": {"max_length": MAX_TOKENS}, "evaluation": {"every_steps": 0, "max_pairs": HELD_OUT}}
        run(folder / "reward", "reward", settings | {"output": "final"}, tables)
        asked: dict[str, Any] = {"kind": "reward", "checkpoint": "../reward/final", "data": "../pairs.jsonl"}
        asked |= {"output": "report", "max_length": MAX_TOKENS, "max_prompts": HELD_OUT}
        run(folder / "evaluation", "evaluate", asked, {})
        report = json.loads((folder / "evaluation" / "report" / "report.json").read_text())
        before = json.loads((folder / "reward" / "final" / "metrics.json").read_text())["baseline"]
    print(f"untrained: {before['held_out/accuracy']:.3f}\n")
    for name in SHOWN:
        found = (report["after_metrics"] | report["compared"]).get(name)
        if found is not None:
            print(f"{name:<40}{found['value']:>8.3f}  [{found['low']:.3f}, {found['high']:.3f}]")
    print(f"\n{(time.monotonic() - began) / 60:.0f} minutes, load {os.getloadavg()[0]:.1f} at the end")
    return 0


def read(file: Path) -> list[dict[str, Any]]:
    """Valid pairs, each prompt once: transcripts that part at the last answer, with two different ones that say something."""
    found: dict[str, dict[str, Any]] = {}
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            body = json.loads(line)
            chosen, rejected = messages(body["chosen"]), messages(body["rejected"])
            answers = [side[-1]["content"] for side in (chosen, rejected)]
            if (
                chosen[:-1] == rejected[:-1]
                and chosen[-1]["role"] == "assistant"
                and all(answers)
                and len(set(answers)) == 2
            ):
                row = {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}
                found.setdefault(json.dumps(row["prompt"]), row)
    return list(found.values())


def messages(transcript: str) -> list[dict[str, str]]:
    """A transcript as messages."""
    parts = TURN.split(transcript)
    return [{"role": ROLES[who], "content": said.strip()} for who, said in zip(parts[1::2], parts[2::2], strict=True)]


def fitting(pairs: list[dict[str, Any]], base: Path) -> list[dict[str, Any]]:
    """Those of which prompt and either answer have at most MAX_TOKENS tokens."""
    tokenizer = models.load_tokenizer(str(base))

    def length(row: dict[str, Any]) -> int:
        prompt = row["prompt"]
        answers = [encode_response(tokenizer, prompt, row[side][0]["content"]).ids for side in ("chosen", "rejected")]
        return len(encode_chat(tokenizer, prompt, add_generation_prompt=True)) + max(map(len, answers))

    return [row for row in pairs if length(row) <= MAX_TOKENS]


def split(pairs: list[dict[str, Any]], train: int) -> list[dict[str, Any]]:
    """As many as are wanted, drawn by the seed; each prompt is there once, so no side shares one."""
    drawn = random.Random(SEED).sample(pairs, min(len(pairs), HELD_OUT + train))
    return [row | {"split": "held_out" if at < HELD_OUT else "train"} for at, row in enumerate(drawn)]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """JSON Lines in TRL's format."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
