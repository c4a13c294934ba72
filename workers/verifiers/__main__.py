"""``python -m workers.verifiers``: cases in, findings out, as lines of JSON; for sampling, evaluation, rewards, anybody.

In: ``{"id": anything, "case": {"prompt", "response", "reference", "tests", "tools"}, "verifiers": [names] | null}``.
Out, in the same order: ``{"id", "case_hash", "findings": [{"verifier", "version", "passed", "score", "message",
"evidence", "again"}]}``, or ``{"id", "error"}`` where the line is wrong. ``null`` runs every verifier that applies. A check
that hangs or dies is a finding with ``passed`` null; where ``again`` is true, what it needed was away. The exit status is 1
where no check could be made at all.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from workers.verifiers import registry
from workers.verifiers.checker import Checker, CheckerBroken, WrongCase
from workers.verifiers.protocol import case_of


def main(arguments: list[str] | None = None) -> int:
    """Serve lines until standard input ends; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.verifiers", description="Check responses: JSON lines.")
    parser.add_argument("--names", action="store_true", help="print the names of all verifiers and stop")
    if parser.parse_args(arguments).names:
        print("\n".join(registry.names()))  # noqa: T201  # a command line prints
        return 0
    with Checker() as checker:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                answer = _answer(checker, line)
            except CheckerBroken as error:
                print(error, file=sys.stderr)  # noqa: T201
                return 1
            print(json.dumps(answer, ensure_ascii=False), flush=True)  # noqa: T201
    return 0


def _answer(checker: Checker, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        return {"id": None, "error": f"This line is no JSON: {error}"}
    if not isinstance(record, dict) or not isinstance(record.get("case"), dict):
        return {"id": record.get("id") if isinstance(record, dict) else None, "error": "case: missing, or no object"}
    try:
        case = case_of(record["case"])
        findings = checker.check(case, record.get("verifiers"))
    except (WrongCase, ValueError) as error:
        return {"id": record.get("id"), "error": str(error)}
    return {"id": record.get("id"), "case_hash": case.hash, "findings": [asdict(each) for each in findings]}


if __name__ == "__main__":
    sys.exit(main())
