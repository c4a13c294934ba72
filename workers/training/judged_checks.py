"""Have the judge of facts say of the answers by which the gate measures a policy what no check could say.

    python -m workers.training.judged_checks POLICY-REPORT/checked.jsonl POLICY-REPORT/judged.json

``training.evaluate`` has written both policies' answers to held-out prompts with what checks found of them; a test of facts is
null there, since trainings ask nobody. The word of an admitted judge takes its place, and the rates of the capabilities that it
is about are computed again, prompt by prompt as before; ``app.rounds.checking`` reads them in place of the old ones. Where the
judge is away, is not set up or is not admitted, nothing changes, and the file says why.

Exit codes: 0 what can be judged is judged, or the file says why not; 2 the arguments or the answers; 4 the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.kernel.settings import get_settings
from app.rounds.bounds import VERIFIED, VERIFIED_GAIN
from workers.selection.intervals import over_prompts
from workers.training import lines
from workers.training.judging import Word
from workers.training.lines import Line
from workers.verifiers import facts
from workers.verifiers.protocol import Case, case_of

SIDES = ("before", "after")
Known = tuple[str, float, float]
"""A capability, and whether the two policies solve a prompt of it."""


async def judged(word: Word, answered: Sequence[Line]) -> list[Line]:
    """The lines whose answers a judge was asked about, with its word in place of what was null, and what follows of it."""
    return [await _judged(word, line) if _case(line, "") else line for line in answered]


def _case(line: Line, response: str) -> Case | None:
    """An answer with what it is held against; None where that is no test of facts, or its batch does not check facts."""
    named = line.get("verifiers")
    if named is not None and facts.NAME not in named:
        return None
    try:
        case = case_of({**line, "response": response})
    except ValueError:
        return None
    return case if facts.Facts().applies(case) else None


async def _judged(word: Word, line: Line) -> Line:
    found = dict(line)
    for side in SIDES:
        case = _case(line, line[side]["text"])
        if case is None:
            continue
        said = await word.of(case)
        passed = {each["verifier"]: each["passed"] for each in line[side]["findings"]} | {facts.NAME: said.passed}
        required = line.get("required")
        counts = [verdict for name, verdict in passed.items() if not required or name in required]
        found[side] = line[side] | {"passed": _verdict(counts)}
    return found


def _verdict(counts: Sequence[bool | None]) -> bool | None:
    if False in counts:
        return False
    return None if None in counts or not counts else True


def rates(answered: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """The shares of prompts that each policy solves and their difference, in all and by capability that facts are tested of."""
    known = [
        (line["capability"], float(line["before"]["passed"]), float(line["after"]["passed"]))
        for line in answered
        if line["before"]["passed"] is not None and line["after"]["passed"] is not None
    ]
    touched = {line["capability"] for line in answered if _case(line, "")}
    found: dict[str, dict[str, Any]] = {"before_metrics": {}, "after_metrics": {}, "compared": {}}
    for name, some in _groups(known, touched):
        prompts = list(range(len(some)))
        found["before_metrics"][VERIFIED + name] = over_prompts(prompts, [old for _, old, _ in some])
        found["after_metrics"][VERIFIED + name] = over_prompts(prompts, [new for *_, new in some])
        found["compared"][VERIFIED_GAIN + name] = over_prompts(prompts, [new - old for _, old, new in some])
    return found


def _groups(known: Sequence[Known], touched: set[str]) -> Iterator[tuple[str, list[Known]]]:
    if known and touched:
        yield "", list(known)
    for capability in sorted(touched):
        some = [row for row in known if row[0] == capability]
        if some:
            yield f"/{capability}", some


def main(argv: list[str]) -> int:
    """Judge what was measured; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checked", type=Path)
    parser.add_argument("judged", type=Path)
    given = parser.parse_args(argv)
    if not get_settings().database_url:
        return lines.without_installation("judge")
    word, why_not = Word.admitted()
    body: dict[str, Any] = {}
    try:
        answered = lines.whole(given.checked) if given.checked.exists() else []
        if word is not None:
            body = rates(asyncio.run(judged(word, answered)))
            why_not = word.away
        lines.write(given.judged, {"unavailable": why_not} | ({} if why_not else body))
    except (ValueError, KeyError, TypeError) as error:
        return lines.end(f"{given.checked} cannot be understood ({error!r}): measure again", 2)
    except OSError as error:
        return lines.end(f"Writing failed ({error}). Free some space, then start again.", 4)
    lines.say(f"no answer is judged: {why_not}" if why_not else "every answer with a source is judged")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
