"""What a snapshot or a file holds to train on, by capability, language and source, as JSON.

    python -m training.mix SNAPSHOT --base-model MODEL [--kind sft]

MODEL's tokenizer counts the tokens. The report is that of `training.formats.mix`: what every run says of what it trains on.
"""

import argparse
import json
import sys
from pathlib import Path

from training.data.rows import prepare
from training.formats import mix
from training.formats.errors import TrainingError
from training.formats.mix import Portion
from training.formats.settings import DataConfig
from training.model import models

ALL = 1 << 30
"""Tokens: nothing is too long to be counted."""


def main(argv: list[str]) -> int:
    """Print the report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="SNAPSHOT")
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--kind", choices=("reward", "sft", "dpo"), default="reward", help="what would be trained")
    given = parser.parse_args(argv)
    limits = DataConfig(min_strength=1, max_length=ALL)
    try:
        models.check_base(given.base_model)
        tokenizer = models.load_tokenizer(given.base_model)
        counts = prepare(given.data, limits, tokenizer, max_held_out=0, consumer=given.kind).counts
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    found = mix.report((Portion(**each) for each in counts["mix"]), {})
    sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
