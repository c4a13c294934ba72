"""Whether a stepwise reward model finds a rule that is known, and nothing where there is none: planted and shuffled labels.

    python -m benchmarks.planted_steps BASE_MODEL

Solutions are lines that add up; a line that takes away is wrong. The labels follow that rule, or are drawn without looking.
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget, verdict
from training import steps
from training.steps import StepsConfig

WHAT = ("apples", "coins", "books", "shells", "stamps", "marbles")
RIGHT, WRONG = "gains", "drops"
SHARE_WRONG = 0.25
PLANTED_AT_LEAST, SHUFFLED = 0.95, (0.45, 0.55)


def solutions(count: int, seed: int, *, shuffled: bool) -> list[dict[str, Any]]:
    """So many rows in TRL's stepwise form; every step is wrong with the same chance, wherever it stands."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        what = dice.choice(WHAT)
        wrong = [dice.random() < SHARE_WRONG for _ in range(dice.randint(2, 5))]
        lines = [f"She {WRONG if each else RIGHT} {dice.randint(2, 99)} {what}." for each in wrong]
        labels = [dice.random() >= SHARE_WRONG if shuffled else not each for each in wrong]
        rows.append({"prompt": f"Problem {number}: how many {what}?", "completions": lines, "labels": labels})
    return rows


def learn(folder: Path, base_model: str, *, shuffled: bool, count: int = 400, **settings: Any) -> dict[str, float]:
    """Train on the rows and return the held-out metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "steps.jsonl"
    rows = solutions(count, 11, shuffled=shuffled)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"held_out_percent": 50, "max_length": 512, "learning_rate": 1e-3, "epochs": 2.0} | settings
    steps.run(StepsConfig(data=data, output=folder / "final", base_model=base_model, **given), dry_run=False)
    metrics: dict[str, float] = json.loads((folder / "final" / "metrics.json").read_text(encoding="utf-8"))["final"]
    return metrics


def budgets(base_model: str, **settings: Any) -> list[Budget]:
    """What a stepwise reward model finds in planted labels and in shuffled ones, beside what it may be."""
    with tempfile.TemporaryDirectory() as name:
        found = {
            labels: learn(Path(name) / labels, base_model, shuffled=labels == "shuffled", **settings)[
                "held_out/step_auc"
            ]
            for labels in ("planted", "shuffled")
        }
    return [
        Budget("planted steps, AUC", found["planted"], PLANTED_AT_LEAST, at_least=True),
        Budget("shuffled steps, AUC", found["shuffled"], SHUFFLED[0], at_least=True),
        Budget("shuffled steps, AUC", found["shuffled"], SHUFFLED[1]),
    ]


def main() -> int:
    """Print the table; 1 where something is not as it was planted."""
    if len(sys.argv) != 2:
        print("skipped: give the folder of a base model")
        return 0
    return verdict(*budgets(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
