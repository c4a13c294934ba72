"""A verifier of a planted rule, in lines of JSON: an answer is as good as its share of digits. ``python likes_digits.py MODE``.

MODE: ``rule``; ``random`` (a number that has nothing to do with the answer); ``unsure`` (nothing can be checked); ``other``
(a second verifier contradicts the rule).
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any


def finding(verifier: str, score: float | None) -> dict[str, Any]:
    passed = None if score is None else score > 0.5
    return {"verifier": verifier, "version": "1", "passed": passed, "score": score, "message": "", "evidence": {}}


def main(mode: str) -> None:
    dice = random.Random(1)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = asked["case"]["response"]
        share = sum(letter.isdigit() for letter in answer) / max(1, len(answer))
        score = {"random": dice.random(), "unsure": None}.get(mode, share)
        found = [finding("digits", score)] + ([finding("letters", 1 - share)] if mode == "other" else [])
        print(json.dumps({"id": asked["id"], "findings": found}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
