"""Checks sums, in the lines of JSON that verifiers speak: ``python verifier.py [MODE]``; small, and of no package.

An answer passes where it says the case's reference; with "perhaps" in it nobody can tell. Its form is found as well: ``short``
fails what has more than 40 letters. MODE: ``dies`` (at an answer with "kill"), ``prose`` (answers no JSON), ``odd`` (says
"yes" for true), ``deaf`` (ends before it has answered).
"""

from __future__ import annotations

import json
import sys
from typing import Any


def found(verifier: str, passed: Any, message: str) -> dict[str, Any]:
    return {"verifier": verifier, "version": "1", "passed": passed, "score": None, "message": message, "evidence": {}}


def findings(case: dict[str, Any]) -> list[dict[str, Any]]:
    reference, response = case["reference"], case["response"]
    if reference is None:
        return []
    right = None if "perhaps" in response else reference in response.split()
    said = "cannot tell" if right is None else "right" if right else f"another number than {reference}"
    return [found("sum", right, said), found("short", len(response) <= 40, f"{len(response)} letters")]


def main(mode: str) -> None:
    if mode == "deaf":
        return
    for line in sys.stdin:
        asked = json.loads(line)
        if mode == "prose":
            print("Gladly!", flush=True)  # noqa: T201
            continue
        if mode == "dies" and "kill" in asked["case"]["response"]:
            sys.exit(3)
        answer: dict[str, Any] = {"id": asked["id"], "findings": findings(asked["case"])}
        if asked["verifiers"] is not None:
            answer["findings"] = [one for one in answer["findings"] if one["verifier"] in asked["verifiers"]]
        if asked["case"]["tests"] == "nonsense":
            answer = {"id": asked["id"], "error": "tests: missing or of the wrong type"}
        if mode == "odd":
            answer["findings"] = [found("sum", "yes", "")]
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "")
