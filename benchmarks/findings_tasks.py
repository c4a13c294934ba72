"""Tasks whose answers a program checks, for ``benchmarks.round_with_findings``: sums, and answers in a form that is asked for.

Each kind of task is measured on the base model first, and the round is played with those of which it solves some and not all:
where it solves all there is nothing to learn, and where it solves none nothing right is sampled.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.planted import SUBJECTS
from training.measure import bootstrap
from training.measure.bootstrap import Interval

ARITHMETIC, FORMAT = "arithmetic", "format"
FAMILIES = {ARITHMETIC: "answer", FORMAT: "instructions"}
"""A capability of the batch, and the verifier that its tasks have to pass."""
LOW, HIGH = 0.2, 0.6
"""How many of a kind the base model solves, for the kind to be taken."""
MOST_KINDS = 4
"""Of a family."""
TRIES = 200


@dataclass(frozen=True)
class Task:
    """One prompt with its test."""

    kind: str
    family: str
    prompt: str
    test: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """As a file of prompts has it."""
        return {"prompt": self.prompt, "capability": self.family, "tests": [self.test], "language": "en"}

    def case(self, response: str) -> dict[str, Any]:
        """As a verifier is asked about a response."""
        return {"prompt": [{"role": "user", "content": self.prompt}], "response": response, "tests": [self.test]}


# ── Sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
ONLY = "Reply with the number only."


def _plus(most: int) -> Callable[[random.Random], tuple[str, int]]:
    def make(dice: random.Random) -> tuple[str, int]:
        a, b = dice.randint(1, most), dice.randint(1, most)
        return f"What is {a} + {b}?", a + b

    return make


def _times(most: int) -> Callable[[random.Random], tuple[str, int]]:
    def make(dice: random.Random) -> tuple[str, int]:
        a, b = dice.randint(2, most), dice.randint(2, most)
        return f"What is {a} times {b}?", a * b

    return make


def _minus(dice: random.Random) -> tuple[str, int]:
    a, b = sorted(dice.sample(range(1, 20), 2))
    return f"What is {b} minus {a}?", b - a


_SUMS: Mapping[str, Callable[[random.Random], tuple[str, int]]] = {
    "sums to 9 + 9": _plus(9),
    "sums to 15 + 15": _plus(15),
    "sums to 50 + 50": _plus(50),
    "products to 9 × 9": _times(9),
    "products to 15 × 15": _times(15),
    "differences to 19": _minus,
}
"""Words differ where signs do: whoever looks for held-out prompts among those that are learnt from reads words."""

# ── Forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────
_QUESTIONS = ("What is {} for?", "Where does one find {}?", "How would you describe {} to a child?", "What is {}?")
_WORDS = ("water", "time", "simple", "because", "small", "light", "people", "often", "many", "useful")

Rule = tuple[str, str, dict[str, Any]]
"""What is asked for, the id of the instruction, and what it names."""


def _fewer_words(dice: random.Random) -> Rule:
    most = dice.choice((12, 15, 18))
    return f"Use fewer than {most} words.", "length_constraints:number_words", _counted("words", most, "less than")


def _more_words(dice: random.Random) -> Rule:
    least = dice.choice((25, 30, 35))
    return f"Use at least {least} words.", "length_constraints:number_words", _counted("words", least, "at least")


def _counted(what: str, number: int, relation: str) -> dict[str, Any]:
    return {f"num_{what}": number, "relation": relation}


def _one_sentence(_: random.Random) -> Rule:
    named = _counted("sentences", 2, "less than")
    return "Answer in one sentence.", "length_constraints:number_sentences", named


def _with_word(dice: random.Random) -> Rule:
    word = dice.choice(_WORDS)
    return f"Answer in one sentence with the word “{word}”.", "keywords:existence", {"keywords": [word]}


def _no_comma(_: random.Random) -> Rule:
    return "Answer in one sentence without a comma.", "punctuation:no_comma", {}


def _capitals(_: random.Random) -> Rule:
    return "ANSWER IN ONE SENTENCE IN CAPITAL LETTERS ONLY.", "change_case:english_capital", {}


def _ending(_: random.Random) -> Rule:
    end = "That is all."
    return f"Answer in one sentence, then write “{end}”", "startend:end_checker", {"end_phrase": end}


def _letter(dice: random.Random) -> Rule:
    letter = dice.choice("bpkw")
    named = {"letter": letter, "let_frequency": 2, "let_relation": "at least"}
    return f"Use the letter “{letter}” at least twice, in one sentence.", "keywords:letter_frequency", named


_FORMS: Mapping[str, Callable[[random.Random], Rule]] = {
    "fewer words": _fewer_words,
    "more words": _more_words,
    "one sentence": _one_sentence,
    "a word": _with_word,
    "no comma": _no_comma,
    "capitals": _capitals,
    "an ending": _ending,
    "a letter": _letter,
}

KINDS = {**dict.fromkeys(_SUMS, ARITHMETIC), **dict.fromkeys(_FORMS, FORMAT)}
"""Every kind of task, and its family."""


def _made(kind: str, dice: random.Random) -> Task:
    if kind in _SUMS:
        question, right = _SUMS[kind](dice)
        return Task(kind, ARITHMETIC, f"{question} {ONLY}", {"kind": "answer", "value": str(right)})
    said, name, named = _FORMS[kind](dice)
    asked = dice.choice(_QUESTIONS).format(dice.choice(SUBJECTS))
    return Task(kind, FORMAT, f"{asked} {said}", {"kind": "instructions", "ids": [name], "kwargs": [named]})


def tasks(kinds: Sequence[str], count: int, seed: int, without: Sequence[str] = ()) -> list[Task]:
    """So many tasks, families taking turns and in each its kinds, no prompt twice and none of ``without``.

    Raises:
        ValueError: there are not so many.
    """
    dice, found, known = random.Random(f"{seed} {' '.join(kinds)}"), [], set(without)  # repeatable
    by_family = [kept for family in FAMILIES if (kept := [kind for kind in kinds if KINDS[kind] == family])]
    for number in range(count):
        turn, place = divmod(number, len(by_family))
        kind = by_family[place][turn % len(by_family[place])]
        made = (_made(kind, dice) for _ in range(TRIES))
        task = next((each for each in made if each.prompt not in known), None)
        if task is None:
            raise ValueError(f"there are fewer than {count} tasks of {', '.join(kinds)}")
        known.add(task.prompt)
        found.append(task)
    return found


# ── Which kinds ──────────────────────────────────────────────────────────────────────────────────────────────────────
Answered = tuple[Task, bool | None]
"""A task, and whether its answer passes its check; None where that could not be told."""


def rates(answered: Sequence[Answered], group: Callable[[Task], str]) -> dict[str, Interval]:
    """How many of each group are solved. An answer that cannot be checked solves nothing: no number is marked in it."""
    found: dict[str, list[tuple[str, float]]] = {}
    for task, passed in answered:
        found.setdefault(group(task), []).append((task.prompt, float(passed is True)))
    return {name: bootstrap.mean(*zip(*rows, strict=True)) for name, rows in found.items()}


def chosen(solved: Mapping[str, float]) -> list[str]:
    """Of each family the kinds that are played with: those within the bounds, or the one nearest to their middle."""
    middle, found = (LOW + HIGH) / 2, []
    for family in FAMILIES:
        ranked = sorted((abs(rate - middle), kind) for kind, rate in solved.items() if KINDS[kind] == family)
        within = [kind for distance, kind in ranked if distance <= (HIGH - LOW) / 2 + 1e-9]
        found += within[:MOST_KINDS] or [kind for _, kind in ranked[:1]]
    return found


def as_json(answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """What is kept of answers on the disk."""
    return [{"task": asdict(task), "passed": passed} for task, passed in answered]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Answered]:
    """What was kept."""
    return [(Task(**row["task"]), row["passed"]) for row in rows]
