"""Which sampled answers pass what they can be checked by, and which prompts none of them solves."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.data.chat import Message
from training.data.checks import Checks, Finding, verdict
from training.data.sampled import Sampled
from training.formats import files

SOURCE = "verifier"
"""Of pairs that checks found."""


@dataclass
class Checked:
    """What came of the checks. `kept` are the answers that go on, of each prompt that was checked or not.

    `passed` and `failed` are those of which the required findings say so, with what they came from; `unsolved` are the prompts of
    which an answer failed and none passed.
    """

    kept: list[tuple[Sampled, list[str]]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    passed: list[tuple[Sampled, list[str]]] = field(default_factory=list)
    failed: list[tuple[Sampled, list[str]]] = field(default_factory=list)
    unsolved: int = 0
    solved: int = 0


def check(
    decent: Sequence[tuple[Sampled, list[str]]],
    checks: Checks,
    required: Sequence[str] | None,
    told: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Check every answer by all verifiers that apply, and drop those that fail one of the required.

    An answer that could not be checked is no wrong one: it goes on, unless another answer to its prompt is known to pass. What
    is dropped is counted by the first verifier that it failed (`failed/NAME`) or that could not check it (`unchecked/NAME`).
    `told` hears before each prompt how many are done.
    """
    found = Checked()
    for done, (sampled, answers) in enumerate(decent):
        told(done)
        asked = required if sampled.required is None else sampled.required
        findings = {text: checks.of(sampled.case(text), sampled.verifiers) for text in answers}
        verdicts = {text: verdict(findings[text], asked) for text in answers}
        sides = {side: [text for text in answers if verdicts[text] is side] for side in (True, False, None)}
        for text in sides[False]:
            found.dropped[f"failed/{_named(findings[text], asked, passed=False)}"] += 1
        if sides[True]:
            for text in sides[None]:
                found.dropped[f"unchecked/{_named(findings[text], asked, passed=None)}"] += 1
            found.solved += 1
        elif sides[False]:
            found.unsolved += 1
        found.kept.append((sampled, sides[True] or sides[None]))
        found.passed += [(sampled, sides[True])] if sides[True] else []
        found.failed += [(sampled, sides[False])] if sides[False] else []
    return found


def write_pairs(checked: Checked, file: Path) -> int:
    """Write pairs of a right and a wrong answer in TRL's form, each answer at most once; how many there are.

    No person stated them: `source` says so.
    """
    wrong = {sampled.key: answers for sampled, answers in checked.failed}
    lines = [
        {
            "id": f"{SOURCE}:{sampled.prompt_id}:{number}",
            "prompt": list(sampled.prompt),
            "tools": sampled.tools,
            "chosen": [{"role": "assistant", "content": better}],
            "rejected": [{"role": "assistant", "content": worse}],
            "steps": _steps(sampled, better, worse),
            "split": "train",
            "source": SOURCE,
            "capability": sampled.capability,
        }
        for sampled, answers in checked.passed
        for number, (better, worse) in enumerate(zip(answers, wrong.get(sampled.key, ()), strict=False))
    ]
    files.write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return len(lines)


def _steps(sampled: Sampled, better: str, worse: str) -> dict[str, list[Message]] | None:
    """What came before each answer; null where neither called a tool."""
    found = {"chosen": list(sampled.steps_of(better)), "rejected": list(sampled.steps_of(worse))}
    return found if any(found.values()) else None


def _named(findings: Sequence[Finding], required: Sequence[str] | None, *, passed: bool | None) -> str:
    """The first of the required verifiers that found `passed`; of an answer that none of them applies to, nothing does."""
    wanted = (each for each in findings if each.passed is passed and (required is None or each.verifier in required))
    return next((each.verifier for each in wanted), "none")
