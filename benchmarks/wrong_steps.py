"""How many wrong steps arithmetic alone finds: GSM8K's solutions, each with one result changed, and as they are.

    python -m benchmarks.wrong_steps gsm8k_test.jsonl

A solution in which no line but the last states a result is left out of those that are changed. What is flagged as it is are
mostly roundings and abbreviations.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

from benchmarks.budget import Budget, verdict
from workers.verifiers.steps import wrong_steps

FOUND, IN_ITS_STEP, FLAGGED = 78.0, 75.5, 4.6
"""Per cent: 1,027 and 997 of 1,313 changed ones, 60 of 1,319 right ones."""
_RESULT = re.compile(r"=\s*\$?(\d[\d,]*(?:\.\d+)?)")


def changed(solution: str, dice: random.Random) -> tuple[str, int] | None:
    """A solution with one result that is a little off, and in which line, from 1; None where no line states one."""
    lines = solution.splitlines()
    places = [(at, found) for at, line in enumerate(lines[:-1]) for found in _RESULT.finditer(line)]
    if not places:
        return None
    at, found = dice.choice(places)
    other = str(int(float(found[1].replace(",", ""))) + dice.choice([1, 2, 10]))
    lines[at] = lines[at][: found.start(1)] + other + lines[at][found.end(1) :]
    return "\n".join(lines), at + 1


def budgets(file: Path) -> list[Budget]:
    """What was found, beside what it may be."""
    rows = [json.loads(line)["answer"] for line in file.read_text(encoding="utf-8").splitlines()]
    solutions, dice = [re.sub(r"<<[^>]*>>", "", answer) for answer in rows], random.Random(5)
    flagged = sum(bool(wrong_steps(each)[1]) for each in solutions)
    tried = [made for each in solutions if (made := changed(each, dice)) is not None]
    told = [(wrong_steps(text)[1], line) for text, line in tried]
    found = 100 * sum(bool(wrong) for wrong, _ in told) / len(tried)
    placed = 100 * sum(bool(wrong) and wrong[0].line == line for wrong, line in told) / len(tried)
    return [
        Budget(f"changed results of {len(tried):,} found", found, FOUND, "%", at_least=True),
        Budget("found in the right step", placed, IN_ITS_STEP, "%", at_least=True),
        Budget(f"right solutions of {len(rows):,} flagged", 100 * flagged / len(rows), FLAGGED, "%"),
    ]


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("skipped: gsm8k_test.jsonl: give its path")
        return 0
    return verdict(*budgets(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
