"""Print the card of a checkpoint, which lies beside its weights as `README.md`.

python -m training.model_card CHECKPOINT
"""

import json
import sys
from pathlib import Path

from training.formats import checkpoints
from training.formats.errors import TrainingError
from training.measure.model_card import CURVES, card


def main(argv: list[str]) -> int:
    """Print the card of the checkpoint that is the only argument."""
    if len(argv) != 1 or argv[0].startswith("-"):
        sys.stderr.write("usage: python -m training.model_card CHECKPOINT\n")
        return 2
    folder = Path(argv[0])
    try:
        manifest = checkpoints.verify(folder, "reward", "policy", "sft", "base")
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    measured = folder / "metrics.json"
    metrics = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    sys.stdout.write(card(manifest, metrics, with_curves=(folder / CURVES).exists()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
